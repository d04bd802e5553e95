"""CANN, driver, devices and links, from what the real tools print (see recorded.py for whose formats)."""
import importlib.util
import re
from pathlib import Path

import pytest

from src.doctor import ascend
from src.doctor.checks import Subject, full
from src.doctor.finding import FAILURE, OK, WARNING
from tests.doctor import recorded

CANN_FILE = "/usr/local/Ascend/ascend-toolkit/latest/compiler/version.info"
HOME = "/usr/local/Ascend/ascend-toolkit/latest"
SET = {"ASCEND_HOME_PATH": HOME, "ASCEND_OPP_PATH": f"{HOME}/opp", "LD_LIBRARY_PATH": f"{HOME}/lib64",
       "PYTHONPATH": f"{HOME}/opp/built-in/op_impl/ai_core/tbe"}
WHEEL = Path(importlib.util.find_spec("mindspore").origin).parent


def with_cann(version):
    return {CANN_FILE: recorded.CANN_VERSION.replace("8.2.0.0.201", version)}


def test_the_releases_of_cann_are_those_of_mindspores_own_check():
    text = (WHEEL / "run_check/_check_version.py").read_text(encoding="utf-8")
    listed = re.search(r'self\.version = \[("8\.2".*?)\]', text)[1]
    assert ascend.supported_cann() == re.findall(r'"([\d.]+)"', listed)
    assert set(ascend.OLDEST_DRIVER) <= set(ascend.supported_cann())


def test_variables_are_those_of_mindspores_own_check():
    text = (WHEEL / "run_check/_check_version.py").read_text(encoding="utf-8")
    for part in filter(None, ascend.NEEDED.values()):
        assert f'_check = "{part}"' in text or f'_check_fwk = "{part}"' in text


@pytest.mark.parametrize(("version", "level", "text"), [
    ("9.1.0.1.100", OK, "9.1.0.1.100"), ("8.5.0.2.220", WARNING, "8.5.0.2.220; MindSpore's custom operators are built "
                                         "for 9.1.0"),
    ("8.0.0.0.1", FAILURE, "8.0.0.0.1, but MindSpore 2.10 takes 8.2, 8.3, 8.5, 9.0, 9.1"),
    ("7.8.T5.0.B028", FAILURE, "7.8.T5.0.B028, but")])
def test_cann(make_host, only, version, level, text):
    found = only(ascend.cann(make_host(with_cann(version))))
    assert (found.level, found.text.startswith(text)) == (level, True), found
    assert bool(found.remedy) is (level != OK)


def test_cann_that_the_environment_names_and_the_newer_folder(make_host, only):
    host = make_host({"/opt/cann/compiler/version.info": "Version=9.1.0\n"}, ASCEND_HOME_PATH="/opt/cann")
    assert only(ascend.cann(host)).text == "9.1.0"
    host = make_host({"/usr/local/Ascend/cann/compiler/version.info": "Version=9.1.0\n"})
    assert only(ascend.cann(host)).level == OK


@pytest.mark.parametrize(("cann", "driver", "level"), [
    ("9.1.0", "25.2.0", OK), ("9.1.0", "25.0.rc1.1", FAILURE), ("8.5.0.2", "25.0.rc1.1", OK),
    ("8.5.0.2", "24.1.rc1", FAILURE), ("8.2.0.0.201", "24.1.rc2.2", OK), ("9.0.0", "26.0.rc1", OK)])
def test_driver_against_cann(make_host, only, cann, driver, level):
    files = with_cann(cann) | {ascend.DRIVER: recorded.DRIVER_VERSION.replace("25.2.0", driver)}
    found = only(ascend.driver(make_host(files)))
    assert found.level == level
    assert driver in found.text


def test_variables_that_set_env_sets(make_host, only):
    assert only(ascend.environment(make_host(**SET))).level == OK
    found = only(ascend.environment(make_host(**SET | {"PYTHONPATH": "/elsewhere", "ASCEND_OPP_PATH": ""})))
    assert (found.level, found.text) == (FAILURE, "ASCEND_OPP_PATH, PYTHONPATH not set as CANN needs it")
    assert found.remedy == "source /usr/local/Ascend/ascend-toolkit/set_env.sh"


@pytest.mark.parametrize(("output", "level", "text"), [
    (recorded.NPU_SMI_910B, OK, "8 x 910B2, all OK and free"), (recorded.NPU_SMI_A3, OK, "16 x Ascend910, all OK"),
    (recorded.NPU_SMI_310, OK, "1 x 310, 1 x 310P3, all"),
    (recorded.NPU_SMI_ILL, FAILURE, "3 x 910B2; NPU 1 Alarm, NPU 2 Critical"),
    (recorded.NPU_SMI_IN_USE, WARNING, "2 x 910B2, in use: process 3180312 (python3.11) on NPU 1"),
    (recorded.NPU_SMI_NO_DRIVER, FAILURE, "lists no devices (status 0): DrvMngGetConsoleLogLevel failed."),
    ("", FAILURE, "lists no devices (status 0): nothing")])
def test_npu_smi(make_host, only, output, level, text):
    found = only(ascend.npu_smi(make_host(programs={"npu-smi": {"info": output}})))
    assert (found.level, found.text.startswith(text)) == (level, True), found


def test_npu_smi_that_fails(make_host, only):
    found = only(ascend.npu_smi(make_host(programs={"npu-smi": recorded.NPU_SMI_910B}, status=3)))
    assert (found.level, "(status 3)" in found.text) == (FAILURE, True)


def test_addresses_of_devices(make_host, only):
    assert only(ascend.hccn_conf(make_host({"/etc/hccn.conf": recorded.HCCN_CONF}))).text == "8 addresses"
    twice = recorded.HCCN_CONF + "address_8=192.168.100.101\n"
    found = only(ascend.hccn_conf(make_host({"/etc/hccn.conf": twice})))
    assert (found.level, found.text) == (FAILURE, "192.168.100.101 is the address of several devices")


@pytest.mark.parametrize(("answers", "hosts", "level", "text"), [
    ({}, 1, OK, "8 up, net health Success"), ({"down": (3, 5)}, 2, FAILURE, "no link on device 3, 5"),
    ({"down": (3,)}, 1, WARNING, "no link on device 3"),
    ({"ill": (6,)}, 2, WARNING, "8 up; net health is not Success of device 6: Init")])
def test_links(make_host, only, answers, hosts, level, text):
    host = make_host(cards=8, programs={"hccn_tool": recorded.hccn_tool(**answers)})
    found = only(ascend.links(host, hosts))
    assert (found.level, found.text) == (level, text)


def test_hccn_tool_among_the_drivers_tools(make_host, only):
    host = make_host(cards=1, programs={"hccn_tool": recorded.hccn_tool(cards=1)})
    tool, folder = host.path("/usr/local/bin/hccn_tool"), host.path("/usr/local/Ascend/driver/tools")
    folder.mkdir(parents=True)
    tool.rename(folder / "hccn_tool")
    assert only(ascend.links(host, 1)).level == OK


def test_devices(make_host, only):
    assert only(ascend.device_files(make_host(cards=8), 8)).text == "8 device files /dev/davinci*"
    found = only(ascend.device_files(make_host(cards=8), 16))
    assert (found.level, found.text) == (FAILURE, "8 device files /dev/davinci* for 16 ranks")


def test_mindspore_lite(make_host, only):
    package = {"/opt/lite/runtime/include/api/model.h": "", "/opt/lite/runtime/lib/libmindspore-lite.so": ""}
    libraries = "/usr/lib:/opt/lite/runtime/lib"
    whole = make_host(package, MS_LITE_HOME="/opt/lite", LD_LIBRARY_PATH=libraries)
    assert only(ascend.offline_program(whole)).text == "MindSpore Lite in /opt/lite"
    assert only(ascend.offline_program(make_host(package, LITE_HOME="/opt/lite", LD_LIBRARY_PATH=libraries))) == only(
        ascend.offline_program(whole))
    found = only(ascend.offline_program(make_host(package, MS_LITE_HOME="/opt/lite")))
    assert (found.level, "adds its libraries to LD_LIBRARY_PATH" in found.text) == (OK, True)
    found = only(ascend.offline_program(make_host(MS_LITE_HOME="/opt/other")))
    assert (found.level, "/opt/other/runtime/lib/libmindspore-lite.so" in found.text) == (FAILURE, True)


def test_a_host_of_eight_cards_that_is_well(make_host, tmp_path):
    host = make_host(with_cann("9.1.0") | {ascend.DRIVER: recorded.DRIVER_VERSION, "/etc/hccn.conf": recorded.HCCN_CONF,
                     "/proc/meminfo": "MemTotal: 800000000 kB\nMemAvailable: 700000000 kB\n"}, cards=8,
                     programs={"npu-smi": recorded.NPU_SMI_910B, "hccn_tool": recorded.hccn_tool()}, **SET)
    found = {f.check: f.level for f in full(host, Subject(output_dir=str(tmp_path)))}
    assert {check for check, level in found.items() if level != OK} <= {"disk", "cores", "output folder"}
    assert {"CANN", "environment", "driver", "devices", "npu-smi", "hccn.conf", "links"} <= found.keys()


def test_everything_absent(make_host, tmp_path):
    found = {f.check: f for f in full(make_host(), Subject(output_dir=str(tmp_path)))}
    levels = {check: found[check].level for check in ("CANN", "environment", "driver", "devices", "npu-smi",
                                                      "hccn.conf", "memory", "offline program")}
    assert levels == {"CANN": FAILURE, "environment": FAILURE, "driver": WARNING, "devices": FAILURE,
                      "npu-smi": WARNING, "hccn.conf": WARNING, "memory": WARNING, "offline program": OK}
    assert all(f.remedy for f in found.values() if f.level == FAILURE)
    assert "links" not in found  # there is nothing to ask about
