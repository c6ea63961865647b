"""What the start of a command or server costs, in CPU seconds and as a ratio to Flask with SQLAlchemy in the same run.

    .venv/bin/python bench/startup.py [RUNS]

No command that reads the database can be below that floor; `--help` and `mushu` can. Where Python may not write
bytecode (PYTHONDONTWRITEBYTECODE), compile it first, or compiling is what is measured.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

#: Where `flask` finds wsgi.py.
ROOT = Path(__file__).parents[1]
FLOOR = "Flask and SQLAlchemy"
SERVER = "from mushu.server.main import main; main()"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    FLOOR: ["-c", "import flask.cli, flask_sqlalchemy"],
    "flask --help": ["-m", "flask", "--help"],
    "flask keys --help": ["-m", "flask", "keys", "--help"],
    "flask keys list": ["-m", "flask", "keys", "list", "--org", "default"],
    "mushu-server --help": ["-c", SERVER, "--help"],
    "mushu-server keys list": ["-c", SERVER, "keys", "list", "--org", "default"],
    "a server, until it listens": ["-c", "from mushu.server.up import create_app; create_app()"],
    "import mushu": ["-c", "import mushu"],
    "mushu --help": ["-m", "mushu.cli.main", "--help"],
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"MUSHU_INSTANCE_PATH": str(Path(folder) / "instance"), "FLASK_SKIP_DOTENV": "1"}
        prepare = "from mushu.server.up import Settings, prepare; prepare(Settings.load())"
        subprocess.run([sys.executable, "-c", prepare], env=environment, check=True, capture_output=True)
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(runs):  # in turn, so that a slow moment of the machine hits all alike
            for name, arguments in COMMANDS.items():
                times[name].append(cpu_of([sys.executable, *arguments], environment))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{'median of ' + str(runs) + ' runs':28} {'CPU s':>6} {'× floor':>8}")
    for name, median in medians.items():
        print(f"{name:28} {median:6.3f} {median / medians[FLOOR]:8.2f}")


def cpu_of(command: list[str], environment: dict[str, str]) -> float:
    """Return the CPU seconds, of user and system, that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
