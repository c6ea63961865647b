"""Delivery from this machine: a new key is put into destinations unseen; `deliver` has the phases in order.

The server keeps the key pending until it is told the digest that was read back. A client that is killed at any point
leaves a key that opens nothing. The plaintext is in the memory of this process and in the destinations, nowhere else.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from mushu.cli import delivery_record
from mushu.cli.answers import Answer, id_of, text_of
from mushu.cli.client.api_keys import ApiKeys
from mushu.cli.client.new_key import PendingKey
from mushu.cli.delivery_record import RecordedDelivery
from mushu.cli.errors import Failure
from mushu.cli.output import delivered_answer, note
from mushu.destination import DestinationError
from mushu.destination.registry import opener
from mushu.destination.safe import remarks
from mushu.destination.target import PutBackResult, Target, put_url_beside
from mushu.keyformat import mask

#: The states in which a key is over for good: losing its value costs nobody anything.
_OVER: Final = ("revoked", "failed")
_PENDING: Final = "pending"
_ELSEWHERE: Final = "Name another place, or overwrite it with --force."


@dataclass(frozen=True, slots=True)
class OverwriteRule:
    """Judges what is held at the destinations of one delivery."""

    keys: ApiKeys
    #: Whatever is held may be lost.
    force: bool = False
    #: The id of the key whose place the new one takes, where one is rotated.
    replacing: str | None = None

    def objection(self, uri: str, digest: str) -> str | None:
        """Return why what is held must stay, and the way out; None where it may be overwritten.

        Args:
            digest: SHA-256 of what is held, which the server is asked about unless everything may be lost.

        Raises:
            Failure: the server could not be asked.
        """
        if self.force:
            return None
        key = self.keys.find_by_digest(digest)
        if key is None:
            return (
                f"{uri} holds a value already. Name another variable, remove the value, or overwrite it with --force."
            )
        if self._may_make_way(key):
            return None
        key_id, state = id_of(key, "key_id"), text_of(key, "state")
        if self.replacing is not None and key.get("replaces") == self.replacing and state != _PENDING:
            return f"{uri} holds {key_id}, which has taken the place of {self.replacing} already."
        return _objection(uri, key_id, state)

    def _may_make_way(self, key: Answer) -> bool:
        if text_of(key, "state") in _OVER:
            return True
        # It retires in favour of the key that is rotated: what it was put back to when a hand-over was not heard of.
        return self.replacing is not None and self.replacing in (key.get("key_id"), key.get("replaced_by"))


def open_targets(uris: Sequence[str]) -> list[Target]:
    """Return the destinations that the URIs name on this machine; nothing is touched.

    Raises:
        UsageError: one names none, or two the same.
    """
    open_destination = opener(Path.cwd())
    try:
        targets = [Target.open(open_destination, uri) for uri in uris]
    except DestinationError as error:
        raise click.BadParameter(str(error), param_hint="'--to'") from None
    if len({target.uri for target in targets}) < len(targets):
        raise click.BadParameter("Two of these name the same place. Name each once.", param_hint="'--to'")
    return targets


def deliver(mint: Callable[[], PendingKey], targets: Sequence[Target], rule: OverwriteRule) -> Answer:
    """Create a key, bring it to every destination, and return the contract's answer without the key.

    Args:
        mint: has the server make the key, whether it is simply new or the successor of another.
        rule: judges what the destinations hold.

    Raises:
        Failure: the key was not delivered, and is dead or inert; what was written was put back, or the sentence says
            where not.
    """
    _check(targets, rule)  # 1. Nothing is created that could not be delivered.
    pending = mint()  # 2. It opens nothing.
    _record(pending, targets)
    try:
        proofs = _write_and_prove(pending, targets)  # 3.
        pending.confirm(proofs)  # 4. It works.
    except DestinationError as error:
        reason = str(error)
    except Failure as failure:
        reason = failure.message
    except KeyboardInterrupt:
        note(_give_up(pending, targets, "Interrupted."))
        raise
    else:
        answer = delivered_answer(pending.answer, [target.uri for target in targets])
        return answer | {"name": mask(str(answer.get("name")))}
    raise Failure(_give_up(pending, targets, reason))


def put_url(server: str, targets: Sequence[Target]) -> None:
    """Put the address of the server beside a delivered key, and say where it is not."""
    for problem in (put_url_beside(opener(Path.cwd()), target.uri, server) for target in targets):
        if problem is not None:
            note(problem)


def _record(pending: PendingKey, targets: Sequence[Target]) -> None:
    """Keep where the key is put, so that its value can be taken away from there once it is deleted."""
    delivery = RecordedDelivery(pending.secret.digest(), {target.uri: target.location for target in targets})
    try:
        delivery_record.remember(pending.keys.server, pending.key_id, delivery)
    except Failure as failure:
        note(f"{failure.message} `mushu api-key delete {pending.key_id}` will not take its value away.")


def _check(targets: Sequence[Target], rule: OverwriteRule) -> None:
    for target in targets:
        reason = _reason_against(target, rule)
        if reason is not None:
            raise Failure(f"{reason} No key was created.")


def _reason_against(target: Target, rule: OverwriteRule) -> str | None:
    """Return why the key cannot be put there; None where it can."""
    try:
        target.locate()
        holding = target.check()
        return rule.objection(target.uri, holding.digest) if holding.digest is not None else None
    except DestinationError as error:
        return f"{target.uri}: {error}"
    except Failure as failure:
        return failure.message


def _write_and_prove(pending: PendingKey, targets: Sequence[Target]) -> list[dict[str, str]]:
    """Write to every destination, read back from every one, and return what to tell the server."""
    attempt_id, proofs = secrets.token_hex(16), []
    for target in targets:
        with _naming(target):
            target.write(pending.secret, attempt_id, pending.key_id)
    for target in targets:
        with _naming(target):
            holding = target.read_back(pending.secret)
            digest, remark = holding.digest or "", remarks(holding, pending.key_id)
            if remark:
                note(f"{target.uri}: {remark}")
            at = {"location": target.location.identity} if target.location.identity else {}
            proofs.append({"place": target.uri, "digest": digest} | at)
    return proofs


@contextmanager
def _naming(target: Target) -> Iterator[None]:
    """Put the destination's URI before the sentence of its error."""
    try:
        yield
    except DestinationError as error:
        sentence, permanent = f"{target.uri}: {error}", error.permanent
    else:
        return
    raise DestinationError(sentence, permanent=permanent)


def _give_up(pending: PendingKey, targets: Sequence[Target], reason: str) -> str:
    """End the key, then put back what was written, and return what to tell the user."""
    ended = pending.give_up()
    if ended is None:  # the report had arrived: the key before it is retiring, and must not come back
        return f"{reason} By then {pending.key_id} had taken over from {pending.replaces}, and it stays where it is."
    found = [(target.uri, target.put_back(pending.secret)) for target in reversed(targets)]
    left = [uri for uri, result in found if result is PutBackResult.NOT_TAKEN_BACK]
    with suppress(Failure):  # it was told that nothing can be kept
        delivery_record.forget(pending.keys.server, pending.key_id, left)
    emptied = [uri for uri, result in found if result is PutBackResult.EMPTIED]
    sentences = [reason, ended]
    if left:
        sentences.append(f"Its value could not be taken back from {', '.join(left)}: remove it there.")
    if emptied:
        sentences.append(f"What {', '.join(emptied)} held before could not be put back: nothing is there now.")
    touched = any(target.receipt is not None or target.unclear for target in targets)
    end = "What was written was put back." if touched else "Nothing was written."
    return " ".join(sentences if left or emptied else [*sentences, end])


def _objection(uri: str, key_id: str, state: str) -> str:
    if state == _PENDING:
        return (
            f"{uri} holds {key_id}, which is pending: it is being delivered, or its delivery was cut off. Then delete "
            f"it (mushu api-key delete {key_id}) and try again."
        )
    return (
        f"{uri} holds {key_id}, a key that is {state}. `mushu api-key rotate {key_id} --to URI` puts a new one in its "
        f"place. {_ELSEWHERE}"
    )
