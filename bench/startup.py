"""How long commands take to start, as ratios to `python -c pass` in the same run.

    .venv/bin/python bench/startup.py [RUNS]

The floor of every `flask` command is Flask's own command line, which loads the entry point of Flask-Migrate, and with
it Alembic, whatever is asked for; the last column relates a command to that floor.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = "import sys, flask.cli, flask_migrate.cli"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "Flask's command line, with Flask-Migrate": ["-c", FLOOR],
    "flask keys --help": ["-m", "flask", "keys", "--help"],
    "flask keys list": ["-m", "flask", "keys", "list", "--org", "default"],
    "mushu-server keys list": ["-c", "from mushu.server.main import main; main()", "keys", "list", "--org", "default"],
    "import mushu": ["-c", "import mushu"],
    "mushu --help": ["-m", "mushu.cli", "--help"],
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"MUSHU_INSTANCE_PATH": str(Path(folder) / "instance"), "FLASK_SKIP_DOTENV": "1"}
        prepare = "from mushu.server.up import prepare, settings_from; prepare(settings_from([]))"
        subprocess.run([sys.executable, "-c", prepare], env=environment, check=True, capture_output=True)
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(runs):  # in turn, so that a slow moment of the machine hits all alike
            for name, arguments in COMMANDS.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True)
                times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    base, floor = medians["python -c pass"], medians["Flask's command line, with Flask-Migrate"]
    print(f"{'median of ' + str(runs) + ' runs':42} {'ms':>6} {'× pass':>7} {'× floor':>8}")
    for name, median in medians.items():
        print(f"{name:42} {median * 1000:6.0f} {median / base:7.1f} {median / floor:8.2f}")


if __name__ == "__main__":
    main()
