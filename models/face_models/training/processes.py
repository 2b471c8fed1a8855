"""Several processes that learn one network: each a share of every batch, gradients averaged.

For CPUs, where most layers of a lightweight network are too small to be split among threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

Work = Callable[..., None]


def work_together(processes: int, work: Work, *arguments: object) -> None:
    """Call `work(*arguments)` in that many processes at once; a failure of one ends all.

    One process is the caller's own. Several import `work` anew, so it belongs to a module.
    """
    if processes == 1:
        work(*arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        spawn(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _join, args=(processes, meeting, work, arguments), nprocs=processes
        )


def _join(
    number: int, processes: int, meeting: Path, work: Work, arguments: Iterable[object]
) -> None:
    distributed.init_process_group(
        "gloo", init_method=meeting.as_uri(), rank=number, world_size=processes
    )
    try:
        work(*arguments)
    finally:
        distributed.destroy_process_group()


def this_share() -> tuple[int, int]:
    """Which of how many shares this process learns; (0, 1) where it is alone."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_first() -> bool:
    """Whether this process is the one that logs, measures and saves."""
    return this_share()[0] == 0


@torch.no_grad()
def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Give every process the mean of all their gradients; alone, leave them as they are."""
    _, processes = this_share()
    if processes == 1:
        return
    gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    parts = torch.split(flat / processes, [gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, parts, strict=True):
        gradient.copy_(mean.view(gradient.shape))
