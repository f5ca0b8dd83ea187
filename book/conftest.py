"""What notebooks run under when pytest is given only some: no progress bars."""

import os

os.environ["MAPPING_PROGRESS"] = "0"  # inherited by kernels and what they start
