"""Builds the Debian package from [package.metadata.deb] in node/Cargo.toml with dpkg-deb alone, for machines that
do not have cargo-deb. The files and the maintainer scripts are the same.

    python3 .ci/make_deb.py PROGRAM OUT.deb
"""

import glob
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def package(name: str) -> dict:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    found = tomllib.loads((ROOT / name / "Cargo.toml").read_text())["package"]
    return {key: workspace[key] if isinstance(value, dict) and value.get("workspace") else value
            for key, value in found.items()}


def copy_assets(assets: list, program: pathlib.Path, tree: pathlib.Path) -> None:
    for source, target, mode in assets:
        found = [str(program)] if source.startswith("target/release/") else glob.glob(str(ROOT / "node" / source))
        if not found:
            raise SystemExit(f"no file {source}, which node/Cargo.toml names")
        for path in found:
            to = tree / target / pathlib.Path(path).name if target.endswith("/") else tree / target
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            to.chmod(int(mode, 8))


def library_dependencies(program: pathlib.Path, scratch: pathlib.Path) -> str:
    (scratch / "debian").mkdir()
    (scratch / "debian" / "control").write_text("Source: windvane\n\nPackage: windvane\nArchitecture: any\n")
    told = subprocess.run(["dpkg-shlibdeps", "-O", str(program.resolve())], cwd=scratch, check=True,
                          capture_output=True, text=True).stdout
    return re.search(r"shlibs:Depends=(.*)", told)[1]


def main() -> None:
    program, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    node = package("node")
    deb = node["metadata"]["deb"]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        tree = scratch / "tree"
        control = tree / "DEBIAN"
        control.mkdir(parents=True)
        copy_assets(deb["assets"], program, tree)
        for script in (ROOT / "node" / deb["maintainer-scripts"]).iterdir():
            shutil.copy(script, control / script.name)
            (control / script.name).chmod(0o755)
        architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
        depends = deb["depends"].replace("$auto", library_dependencies(program, scratch))
        description = " " + deb["extended-description"]
        (control / "control").write_text(
            f"Package: windvane\nVersion: {node['version']}-1\nArchitecture: {architecture}\n"
            f"Maintainer: {deb['maintainer']}\nSection: {deb['section']}\nPriority: {deb['priority']}\n"
            f"Depends: {depends}\nDescription: {node['description']}\n{description}\n")
        subprocess.run(["find", tree, "-type", "d", "-exec", "chmod", "755", "{}", "+"], check=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", tree, out], check=True)


if __name__ == "__main__":
    main()
