"""The causes that the doctor knows, in the order in which they keep a GPU away.

The earlier one stands, the nearer it is to the root: what comes first in a machine's
findings is to be mended first.
"""

from workbench.devices.doctor.causes_driver import ACCESS, DRIVER
from workbench.devices.doctor.causes_software import CARDS, LIBRARIES, PLATFORM

STAGES = {
    "package": PLATFORM,
    "access": ACCESS,
    "driver": DRIVER,
    "libraries": LIBRARIES,
    "card": CARDS,
}
CAUSES = {cause.code: cause for causes in STAGES.values() for cause in causes}
STAGE_OF = {cause.code: stage for stage, causes in STAGES.items() for cause in causes}
