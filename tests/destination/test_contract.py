"""The shapes of the contract: what an error tells, and what shows nothing."""

from pathlib import Path

from mushu.destination import Conflict, DestinationError, Receipt, Secret, Surroundings


def test_errors_say_whether_trying_again_can_help() -> None:
    assert DestinationError("x", permanent=True).permanent
    assert not DestinationError("x", permanent=False).permanent
    assert Conflict("x").permanent


def test_a_receipt_does_not_show_what_it_could_undo() -> None:
    assert "former" not in repr(Receipt("v", "d", Secret("former")))


def test_surroundings_do_not_show_the_settings_of_a_plugin() -> None:
    assert "hvs.token" not in repr(Surroundings(Path("/srv"), {"token": "hvs.token"}))
