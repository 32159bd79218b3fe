"""Runs the blocks of the partner guide, taken from node/README.md, on a clean Debian: debootstrap, the package, a
booted systemd with its own network of one loopback, both parties, and the first verification, whose answer is
checked. Needs root, dpkg-dev, and a build of windvane; the mirror is this machine's own.

    python3 .ci/partner_guide.py [--program target/release/windvane | --deb FILE]
"""

import argparse
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
GUIDE = HERE.parent / "node" / "README.md"

MOUNTS = """
set -eu
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for device in null zero full random urandom tty; do cp -a /dev/$device "$1/dev/$device"; done
mkdir "$1/dev/pts" "$1/dev/shm"
ln -s pts/ptmx "$1/dev/ptmx"
"""
INSTALL = MOUNTS + 'exec chroot "$1" bash -c "$2"'
# A cgroup of its own before the cgroup namespace, so that two machines do not share one tree.
BOOT = MOUNTS + """
mount -t cgroup2 cgroup2 "$1/sys"
mkdir "$1/sys/$2"
echo $$ > "$1/sys/$2/cgroup.procs"
umount "$1/sys"
ip link set lo up
exec unshare --cgroup bash -euc '
mount -t sysfs sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
cd "$1"
pivot_root . mnt
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    chroot . sh -c "umount -l /mnt; mount --make-rshared /; exec /lib/systemd/systemd --log-target=console --log-level=warning"
' boot "$1"
"""
TIDY = """
mount -t cgroup2 cgroup2 /mnt
[ ! -d "/mnt/$1" ] || find "/mnt/$1" -depth -type d -exec rmdir {} +
"""


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def sections(text: str) -> list[tuple[str, list[str]]]:
    """The guide's numbered sections, each with its shell blocks."""
    guide = re.search(r"^# Partner guide$(.*?)(?=^# |\Z)", text, re.M | re.S)[1]
    # The blocks have no comments at the start of a line, which would look like headings.
    parts = re.split(r"^## (.*)$", guide, flags=re.M)
    return [(title, re.findall(r"^```sh\n(.*?)^```$", body, re.M | re.S))
            for title, body in zip(parts[1::2], parts[2::2])]


def mirror() -> tuple[str, str]:
    """Address and release of the Debian archive that this machine's apt uses."""
    told = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(SUITE) $(COMPONENT)",
               "Created-By: Packages", "Origin: Debian", "Label: Debian", capture_output=True).stdout
    for line in told.splitlines():
        uri, codename, suite, component = line.split()
        if component == "main" and "-" not in codename and "-" not in suite:
            return uri, codename
    raise SystemExit("this machine's apt has no Debian archive; run apt-get update")


def make_root(root: pathlib.Path) -> None:
    uri, codename = mirror()
    include = ["--include=ca-certificates"] if uri.startswith("https") else []
    run("debootstrap", "--variant=minbase", *include, codename, root, uri, stdout=subprocess.DEVNULL)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    settings = run("apt-config", "dump", capture_output=True).stdout
    proxies = [line for line in settings.splitlines() if re.match(r"Acquire::https?::Proxy ", line, re.I)]
    (root / "etc/apt/apt.conf.d/90proxy").write_text("".join(line + "\n" for line in proxies))


class Machine:
    """A booted system in namespaces of its own."""

    def __init__(self, root: pathlib.Path, log: pathlib.Path):
        self.log = log
        flags = ["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"]
        self.group = f"windvane-guide-{os.getpid()}"
        with open(log, "w") as out:
            self.outer = subprocess.Popen(["unshare", *flags, "bash", "-c", BOOT, "boot", str(root), self.group], stdout=out,
                                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.init = None

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.outer.poll() is None:
            children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
            if children:
                self.init = int(children[0])
                told = self.shell("systemctl is-system-running", check=False, capture_output=True)
                if told.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.2)
        raise SystemExit("systemd did not start in namespaces of its own:\n" + self.log.read_text()[-3000:])

    def shell(self, script: str, **options):
        check = options.pop("check", True)
        command = ["nsenter", f"--target={self.init}", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup",
                   "--root", "--wd", "env", "-i", "HOME=/root", "LANG=C.UTF-8",
                   "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-c", script]
        return subprocess.run(command, check=check, text=True, stdin=subprocess.DEVNULL, **options)

    def stop(self) -> None:
        if self.init:
            os.kill(self.init, signal.SIGKILL)
        self.outer.kill()
        self.outer.wait()
        # The kernel takes a moment to empty the cgroups of what was killed.
        for _ in range(50):
            if subprocess.run(["unshare", "--mount", "bash", "-euc", TIDY, "tidy", self.group],
                              stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)


def blocks_in_one_shell(machine: Machine, parts: list[tuple[str, list[str]]], log: pathlib.Path) -> dict[str, str]:
    """Runs the sections' blocks in one shell, as a reader would; gives each section's output."""
    script = ["set -euo pipefail", "cd /root"]
    for title, blocks in parts:
        script.append(f"echo {shlex.quote('@@ ' + title)}")
        script += blocks
    with open(log, "w") as out:
        told = machine.shell("\n".join(script), check=False, timeout=300, stdout=out, stderr=subprocess.STDOUT)
    output = log.read_text()
    if told.returncode != 0:
        units = machine.shell("systemctl status --no-pager --lines=50 'windvane@*'; journalctl --no-pager | tail -50",
                              check=False, capture_output=True).stdout
        print(output)
        raise SystemExit(f"the guide's blocks ended with {told.returncode}\n{units}\n{machine.log.read_text()}")
    split = re.split(r"^@@ (.*)$", output, flags=re.M)
    return dict(zip(split[1::2], split[2::2]))


def expected_answers(text: str) -> dict[str, list[list[str]]]:
    """What the guide says that the answers hold, by section."""
    guide = re.search(r"^# Partner guide$(.*?)(?=^# |\Z)", text, re.M | re.S)[1]
    parts = re.split(r"^## (.*)$", guide, flags=re.M)
    blocks = {title: re.findall(r"^```text\n(.*?)^```$", body, re.M | re.S)
              for title, body in zip(parts[1::2], parts[2::2])}
    return {title: [block.splitlines() for block in found] for title, found in blocks.items() if found}


def check(answers: dict[str, str], expected: dict[str, list[list[str]]]) -> None:
    """Every line that the guide shows is in the output, in the guide's order; a first verification is among them."""
    assert any("一致 match" in line for blocks in expected.values() for block in blocks for line in block)
    for title, blocks in expected.items():
        rest = iter(answers[title].splitlines())
        for line in (line for block in blocks for line in block):
            assert any(line == found for found in rest), f"{title}: the answer has no line {line!r}"
    evidence = next(text for title, text in answers.items() if title.startswith("7."))
    assert evidence.count("verdict          OK") >= 4, "not every log verifies"


def check_units(machine: Machine) -> None:
    """Both nodes run again, as the user and under the limits of the unit."""
    for instance in ("carrier-a", "bank"):
        shown = machine.shell(f"systemctl show -p ActiveState,User,ProtectSystem,MainPID windvane@{instance}; "
                              f"cat /proc/$(systemctl show -p MainPID --value windvane@{instance})/status",
                              capture_output=True).stdout
        for wanted in ("ActiveState=active", "User=windvane", "ProtectSystem=strict", "NoNewPrivs:\t1",
                       "Seccomp:\t2", "CapEff:\t0000000000000000"):
            assert wanted in shown, f"windvane@{instance}: no {wanted} in\n{shown}"
    told = machine.shell("systemd-analyze verify /usr/lib/systemd/system/windvane@.service", check=False,
                         capture_output=True)
    assert told.returncode == 0 and "windvane" not in told.stderr, told.stderr


NODES = "windvane@carrier-a windvane@bank"


def check_upgrade(machine: Machine) -> None:
    """The package over itself: nodes that run are restarted, and serve again when dpkg is through."""
    pids = f"systemctl show -p MainPID --value {NODES}"
    before = machine.shell(pids, capture_output=True).stdout.split()
    machine.shell("dpkg --install /root/windvane_guide.deb", stdout=subprocess.DEVNULL)
    after = machine.shell(f"systemctl is-active {NODES} >&2; {pids}", capture_output=True).stdout.split()
    assert len(before) == len(after) == 2 and not set(before) & set(after), f"{before} and {after}"


def check_purge(machine: Machine) -> None:
    """A purge stops the nodes and leaves keys, logs and configuration: installed again, they go on."""
    machine.shell("dpkg --purge windvane", stdout=subprocess.DEVNULL)
    running = machine.shell(f"systemctl is-active {NODES}", check=False, capture_output=True).stdout.split()
    assert "active" not in running, running
    machine.shell(f"dpkg --install /root/windvane_guide.deb && systemctl start {NODES}", stdout=subprocess.DEVNULL)
    machine.shell("windvane-admin bank snapshot fetch", stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=HERE.parent / "target/release/windvane", type=pathlib.Path)
    parser.add_argument("--deb", type=pathlib.Path)
    parser.add_argument("--root", type=pathlib.Path, help="a clean root that is there already, which is changed")
    args = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("run it as root: it makes a root file system and boots it")
    if not shutil.which("debootstrap") or not shutil.which("dpkg-shlibdeps"):
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap", "dpkg-dev", "iproute2",
            stdout=subprocess.DEVNULL)
    began = time.monotonic()
    step = lambda what: print(f"-- {time.monotonic() - began:5.1f} s  {what}", flush=True)
    with tempfile.TemporaryDirectory(prefix="windvane-guide-") as scratch:
        scratch = pathlib.Path(scratch)
        deb = args.deb or scratch / "windvane.deb"
        if not args.deb:
            step("building the package")
            run(sys.executable, HERE / "make_deb.py", args.program, deb, stdout=subprocess.DEVNULL)
        root = args.root or scratch / "root"
        if not args.root:
            step("making a clean Debian")
            make_root(root)
        shutil.copyfile(deb, root / "root/windvane_guide.deb")
        text = GUIDE.read_text(encoding="utf-8")
        first, *others = sections(text)
        step(f"in the clean Debian: {first[0]}")
        install = "\n".join(["set -euo pipefail", "cd /root", *first[1]])
        run("unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", INSTALL, "install", root, install,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8",
                 **{key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}})
        step("booting it, with a loopback of its own")
        machine = Machine(root, scratch / "boot.log")
        try:
            machine.wait(60)
            step("running the guide's other blocks")
            answers = blocks_in_one_shell(machine, others, scratch / "guide.log")
            check(answers, expected_answers(text))
            check_units(machine)
            check_upgrade(machine)
            check_purge(machine)
        finally:
            machine.stop()
        step("the first verification is as the guide says; units, upgrade and purge are right")


if __name__ == "__main__":
    main()
