"""The training loop, what it works on, callbacks, checkpoints and files."""

from magnitude_ae.training.callbacks import (
    BestState,
    EarlyStopping,
    LogFile,
    Snapshots,
    TensorBoard,
    Validation,
)
from magnitude_ae.training.checkpoints import Checkpoint, read_checkpoint, resume
from magnitude_ae.training.files import read_file, write_file
from magnitude_ae.training.loop import check_phases, run_epoch, take_step, train
from magnitude_ae.training.state import (
    COLUMNS,
    Callback,
    Generators,
    Progress,
    Stopped,
    Training,
    make_optimizers,
)

__all__ = [
    "COLUMNS",
    "BestState",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Generators",
    "LogFile",
    "Progress",
    "Snapshots",
    "Stopped",
    "TensorBoard",
    "Training",
    "Validation",
    "check_phases",
    "make_optimizers",
    "read_checkpoint",
    "read_file",
    "resume",
    "run_epoch",
    "take_step",
    "train",
    "write_file",
]
