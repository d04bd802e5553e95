"""What Ascend's tools print and its files hold, with values of our own, in the formats of:

- `npu-smi info`, `hccn_tool`, the driver's version.info: the user guide of MindCluster (github.com/Ascend/mind-cluster,
  "collecting logs before training"), npu-smi 24.1.rc1;
- `npu-smi info` on A3, with a column Phy-ID and two chips a NPU: npu-smi 24.1.rc3.7, and with running processes
  25.0.rc1, as users' reports to public projects (vllm-ascend, gpustat) show them;
- compiler/version.info of CANN 8.2 and 8.5: the same reports, and the FAQ of CANN 8.5;
- hccn.conf: the vendor's page on hccn_tool.
"""
RULE = "+===========================+===============+====================================================+\n"
THIN = "+---------------------------+---------------+----------------------------------------------------+\n"
LONG = "+------------------------------------------------------------------------------------------------+\n"


def npu_smi(rows: list[tuple[int, int, str, str]], *, phy: bool = False, processes: str = "",
            version: str = "25.2.0") -> str:
    """The table of `npu-smi info`; rows are (NPU, chip, name, health)."""
    second = "| Chip  Phy-ID              | Bus-Id " if phy else "| Chip                      | Bus-Id "
    text = (LONG + f"| npu-smi {version:<24} Version: {version:<53}|\n" + THIN
            + "| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|\n"
            + f"{second}       | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |\n" + RULE)
    for count, (npu, chip, name, health) in enumerate(rows):
        place = f"{chip:<6}{count:<20}" if phy else f"{chip:<26}"
        bus = f"0000:{0x81 + 2 * count:02X}:00.0"
        text += (f"| {npu:<6}{name:<20}| {health:<14}| 92.6        41                0    / 0             |\n"
                 f"| {place}| {bus:<14}| 0           0    / 0          3400 / 65536         |\n" + RULE)
    text += THIN
    text += "| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |\n"
    idle = "".join(f"| No running processes found in NPU {npu:<62}|\n" + RULE for npu in {row[0] for row in rows})
    return text + RULE + (processes + RULE if processes else idle)


NPU_SMI_910B = npu_smi([(npu, 0, "910B2", "OK") for npu in range(8)])
NPU_SMI_A3 = npu_smi([(npu, chip, "Ascend910", "OK") for npu in range(8) for chip in range(2)], phy=True,
                     version="24.1.rc3.7")
NPU_SMI_310 = npu_smi([(0, 0, "310", "OK"), (1, 0, "310P3", "OK")], version="23.0.5")
NPU_SMI_ILL = npu_smi([(0, 0, "910B2", "OK"), (1, 0, "910B2", "Alarm"), (2, 0, "910B2", "Critical")])
NPU_SMI_IN_USE = npu_smi([(0, 0, "910B2", "OK"), (1, 0, "910B2", "OK")], processes=(
    "| 1       0                 | 3180312       | python3.11               | 42345                   |\n"))
NPU_SMI_NO_DRIVER = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005\n"

CANN_VERSION = """\
Version=8.2.0.0.201
version_dir=8.2.RC1
timestamp=20250724_194044950
required_opp_abi_version=">=6.3, <=8.2"
required_package_runtime_version="8.2"
required_package_toolkit_version="8.2"
"""

DRIVER_VERSION = """\
Version=25.2.0
ascendhal_version=7.35.23
aicpu_version=1.0
tdt_version=1.0
log_version=1.0
prof_version=2.0
dvppkernels_version=1.1
tsfw_version=1.0
Innerversion=V100R001C22SPC001B229
compatible_version=[V100R001C19],[V100R001C20],[V100R001C21],[V100R001C22]
compatible_version_fw=[7.0.0,7.8.99]
package_version=25.2.0
"""

HCCN_CONF = "".join(f"address_{i}=192.168.100.{101 + i}\nnetmask_{i}=255.255.255.0\nnetdetect_{i}=192.168.100.1\n"
                    for i in range(8))


def hccn_tool(down: tuple[int, ...] = (), ill: tuple[int, ...] = (), cards: int = 8) -> dict[str, str]:
    """{words: answer} of `hccn_tool -i ID -link -g` and `-net_health -g`."""
    answers = {}
    for i in range(cards):
        answers[f"-i {i} -link -g"] = f"link status: {'DOWN' if i in down else 'UP'}\n"
        answers[f"-i {i} -net_health -g"] = f"net health status: {'Init' if i in ill else 'Success'}\n"
    return answers
