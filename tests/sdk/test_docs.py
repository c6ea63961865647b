"""docs/sdk.md names what is."""

from pathlib import Path

import mushu.sdk

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sdk.md").read_text()


def test_every_error_and_variable_is_on_the_page() -> None:
    kinds: list[type[Exception]] = [mushu.sdk.SdkError, *mushu.sdk.SdkError.__subclasses__()]
    variables = [f"MUSHU_{service.upper()}_URL" for service in mushu.sdk.SERVICES]
    for name in [*(kind.__name__ for kind in kinds), *variables, mushu.sdk.URL_VARIABLE]:
        assert f"{name}`" in PAGE
        assert name in (mushu.sdk.__doc__ or "") or name.startswith("MUSHU_")
