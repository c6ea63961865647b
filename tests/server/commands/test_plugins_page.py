"""docs/plugins.md counts right; tests/e2e/test_walk.py builds, tries and uses its plugin as it is printed."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "plugins.md").read_text()


def test_the_plugin_is_as_short_as_the_page_says() -> None:
    """Counted is what is neither blank, nor a comment, nor a docstring, nor an import."""
    (module,) = re.findall(r"^```python \S*/mushu_folder.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in module.splitlines()]
    code = [line for line in lines if line and not line.startswith(("#", '"""', "import ", "from "))]
    assert f"It is {len(code)} lines" in PAGE
    assert len(code) < 60
