"""CANN, driver, devices and their network ports. Formats are those of the public documentation; see tests/doctor.

The versions of CANN that MindSpore takes are listed only in scripts/install.sh, which installs by that list.
"""
from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.doctor.host import DRIVER_TOOLS, Host, values
from src.doctor.software import ROOT
from src.launch.hosts import count_cards, read_hccn_conf

BASE = "start from the CANN image that docs/ascend.md names, or install another CANN"
DRIVER = "/usr/local/Ascend/driver/version.info"
HCCN_CONF = "/etc/hccn.conf"

# The oldest driver (Ascend HDK) that a CANN takes, from the tables of its release notes: hiascend.com, CANN 8.5.0
# ("Mapping Between CANN and Driver Versions") and 9.1.0 ("CANN and Ascend HDK Version Compatibility"). Those of 8.2 and
# 8.3 name no oldest one.
OLDEST_DRIVER = {"8.5": (25, 0), "9.0": (25, 0), "9.1": (25, 2)}

# What MindSpore looks for in the environment (mindspore/run_check/_check_version.py of 2.10); set_env.sh sets it.
NEEDED = {"ASCEND_HOME_PATH": "", "ASCEND_OPP_PATH": "/opp", "PYTHONPATH": "opp/built-in/op_impl/ai_core/tbe",
          "LD_LIBRARY_PATH": "/lib64"}


def supported_cann() -> list[str]:
    """The releases of CANN that MindSpore 2.10 takes, "8.2", "8.3", ..."""
    text = (ROOT / "scripts/install.sh").read_text(encoding="utf-8")
    return re.search(r'^CANN_VERSIONS="([\d. ]+)"', text, re.M)[1].split()


def cann_version(host: Host) -> tuple[str, str]:
    """(full version, file that says it) of the CANN in use, "" without one; where install.sh looks, too."""
    home = host.env.get("ASCEND_HOME_PATH") or "/usr/local/Ascend/ascend-toolkit/latest"
    for folder in (home, "/usr/local/Ascend/cann"):
        name = f"{folder}/compiler/version.info"
        if version := values(host.read(name) or "").get("Version"):
            return version, name
    return "", f"{home}/compiler/version.info"


def minor(version: str) -> str:
    """ "8.5" of "8.5.0.2.220"."""
    return ".".join(version.split(".")[:2])


def cann(host: Host) -> Iterator[Finding]:
    """CANN against what MindSpore takes, and against the one that the wheel's custom operators are built for."""
    version, place = cann_version(host)
    known = supported_cann()
    if not version:
        yield Finding("CANN", FAILURE, f"not found ({place} is not there)", f"{BASE}, or set ASCEND_HOME_PATH")
    elif minor(version) not in known:
        yield Finding("CANN", FAILURE, f"{version}, but MindSpore 2.10 takes {', '.join(known)}", BASE)
    elif (built := custom_operators()) and minor(built) != minor(version):
        yield Finding("CANN", WARNING, f"{version}; MindSpore's custom operators are built for {built}, and MindSpore "
                      "logs that they do not fit", f"prefer CANN {built}")
    else:
        yield Finding("CANN", OK, version)


def custom_operators() -> str:
    """The CANN that MindSpore's own operators are built for; found without importing MindSpore."""
    package = importlib.util.find_spec("mindspore")
    if package is None or not package.origin:
        return ""
    path = Path(package.origin).parent / "lib/plugin/ascend/custom_ascendc_910b/version.info"
    return values(path.read_text(encoding="utf-8")).get("custom_opp_compiler_version", "") if path.is_file() else ""


def environment(host: Host) -> Iterator[Finding]:
    """The variables that CANN's set_env.sh sets."""
    lacking = [name for name, part in NEEDED.items() if not host.env.get(name) or part not in host.env[name]]
    home = host.env.get("ASCEND_HOME_PATH") or "/usr/local/Ascend/ascend-toolkit"
    yield Finding("environment", FAILURE, f"{', '.join(lacking)} not set as CANN needs it",
                  f"source {home.removesuffix('/latest')}/set_env.sh") if lacking else Finding(
        "environment", OK, "CANN's variables are set")


def driver(host: Host) -> Iterator[Finding]:
    """The driver against the oldest one that this CANN takes."""
    version, cann = values(host.read(DRIVER) or "").get("Version", ""), minor(cann_version(host)[0])
    found, oldest = re.match(r"(\d+)\.(\d+)", version), OLDEST_DRIVER.get(cann)
    if not found:
        yield Finding("driver", WARNING, f"{DRIVER} does not say its version",
                      "install the driver on the host; into a container mount /usr/local/Ascend/driver")
    elif oldest and (int(found[1]), int(found[2])) < oldest:
        yield Finding("driver", FAILURE, f"{version}, but CANN {cann} needs {oldest[0]}.{oldest[1]} or newer",
                      f"update the host's driver, or take an older CANN of {', '.join(supported_cann())}")
    else:
        yield Finding("driver", OK, version + ("" if oldest else f"; no oldest one is known for CANN {cann or '?'}"))


def device_files(host: Host, ranks: int | None = None) -> Iterator[Finding]:
    """Device files of the cards, which a container has to be given."""
    folder = host.path("/dev")
    count = count_cards(str(folder)) if folder.is_dir() else 0
    if count < (ranks or 1):
        wanted = f" for {ranks} ranks" if ranks and count else ""
        yield Finding("devices", FAILURE, f"{count} device files /dev/davinci*{wanted}",
                      "a container gets them from scripts/docker_start.sh; on a host install the driver; without cards "
                      "give --device_target=CPU")
    else:
        yield Finding("devices", OK, f"{count} device files /dev/davinci*")


def npu_smi(host: Host) -> Iterator[Finding]:
    """What `npu-smi info` says about the devices' health, and who uses them."""
    answer = host.run("npu-smi", "info")
    if answer is None:
        yield Finding("npu-smi", WARNING, "not installed", "it comes with the driver; mount /usr/local/bin/npu-smi "
                      "into a container")
        return
    code, text = answer
    devices, processes = parse_npu_smi(text)
    if code or not devices:
        said = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
        yield Finding("npu-smi", FAILURE, f"lists no devices (status {code}): {said[:200]}",
                      "see dmesg; the driver has to be loaded, and the user in the group HwHiAiUser")
        return
    ill = [f"NPU {npu} {health}" for npu, _name, health in devices if health != "OK"]
    names = ", ".join(f"{count} x {name}" for name, count in Counter(name for _npu, name, _ in devices).items())
    if ill:
        yield Finding("npu-smi", FAILURE, f"{names}; {', '.join(ill)}",
                      "npu-smi info -t health -i NPU tells the fault; leave this device out, or reset it")
    elif processes:
        listed = ", ".join(f"process {pid} ({name}) on NPU {npu}" for npu, pid, name in processes[:4])
        yield Finding("npu-smi", WARNING, f"{names}, in use: {listed}", "wait for it, or take other devices")
    else:
        yield Finding("npu-smi", OK, f"{names}, all OK and free")


def parse_npu_smi(text: str) -> tuple[list[tuple[int, str, str]], list[tuple[int, int, str]]]:
    """([(NPU, name, health), one a chip], [(NPU, process id, process name)]) of `npu-smi info`.

    A chip has two rows: the first has its name and its health in letters; the second its address on the bus.
    """
    devices = re.findall(r"^\|\s*(\d+)\s+(\S+)\s*\|\s*([A-Za-z]+)\s*\|", text, re.M)
    processes = re.findall(r"^\|\s*(\d+)\s+\d+\s*\|\s*(\d+)\s*\|\s*(\S[^|]*?)\s*\|", text, re.M)
    return ([(int(npu), name, health) for npu, name, health in devices],
            [(int(npu), int(pid), name) for npu, pid, name in processes])


def hccn_conf(host: Host) -> Iterator[Finding]:
    """The addresses of the devices' network ports."""
    path = host.path(HCCN_CONF)
    addresses = read_hccn_conf(path) if path.is_file() else {}
    twice = [ip for ip, count in Counter(addresses.values()).items() if count > 1]
    if twice:
        yield Finding("hccn.conf", FAILURE, f"{', '.join(twice)} is the address of several devices",
                      "give each its own: hccn_tool -i ID -ip -s address IP netmask MASK")
    elif not addresses:
        yield Finding("hccn.conf", WARNING, f"{HCCN_CONF} has no line address_ID=IP",
                      "set them with hccn_tool, or mount the file into the container; rank tables need the addresses")
    else:
        yield Finding("hccn.conf", OK, f"{len(addresses)} addresses")


def links(host: Host, hosts: int) -> Iterator[Finding]:
    """The devices' network ports: between hosts every one has to be up."""
    folder = host.path("/dev")
    count = count_cards(str(folder)) if folder.is_dir() else 0
    if not count:
        return
    if host.program("hccn_tool") is None:
        yield Finding("links", WARNING, "hccn_tool is not installed",
                      f"it is in {DRIVER_TOOLS} of the host; mount that into the container")
        return
    down, ill = [], []
    for device in range(count):
        if not re.search(r"link status\s*:\s*UP\b", host.run("hccn_tool", "-i", str(device), "-link", "-g")[1]):
            down.append(str(device))
            continue
        health = re.search(r"net health status\s*:\s*(.+)", host.run("hccn_tool", "-i", str(device), "-net_health",
                                                                     "-g")[1])
        if not health or health[1].strip().lower() != "success":
            ill.append(f"device {device}: {health[1].strip() if health else 'no answer'}")
    if down:
        yield Finding("links", FAILURE if hosts > 1 else WARNING, f"no link on device {', '.join(down)}",
                      "check cable, optical module and switch: hccn_tool -i ID -optical -g")
    elif ill:
        yield Finding("links", WARNING, f"{count} up; net health is not Success of {'; '.join(ill)}",
                      "check address, gateway and detection: hccn_tool -i ID -netdetect -g")
    else:
        yield Finding("links", OK, f"{count} up, net health Success")


def offline_program(host: Host) -> Iterator[Finding]:
    """MindSpore Lite's package for ascend310_infer, where MS_LITE_HOME or LITE_HOME asks for it."""
    home = host.env.get("MS_LITE_HOME") or host.env.get("LITE_HOME")
    if not home:
        yield Finding("offline program", OK, "no MindSpore Lite (MS_LITE_HOME is not set); only ascend310_infer on "
                      "Ascend needs it")
        return
    library = next(iter(sorted(host.path(f"{home}/runtime/lib").glob("libmindspore-lite.so*"))), None)
    missing = [f"{home}/runtime/include/api/model.h"] * (host.read(f"{home}/runtime/include/api/model.h") is None)
    missing += [f"{home}/runtime/lib/libmindspore-lite.so"] * (library is None)
    folders = [Path(part) for part in host.env.get("LD_LIBRARY_PATH", "").split(":") if part]
    if missing:
        yield Finding("offline program", FAILURE, f"{', '.join(missing)} is not there",
                      "MS_LITE_HOME is the folder of an unpacked MindSpore Lite package for Ascend")
    elif Path(f"{home}/runtime/lib") not in folders:
        yield Finding("offline program", OK, f"MindSpore Lite in {home}; run_infer_310.sh adds its libraries to "
                      "LD_LIBRARY_PATH, which the program alone needs too: "
                      f"{home}/runtime/lib:{home}/tools/converter/lib")
    else:
        yield Finding("offline program", OK, f"MindSpore Lite in {home}")
