"""What a dead engine said last."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_exceptions_come_before_other_lines_and_noise_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from spy_plugin.models.on_ray.worker import last_exceptions, last_words

    out, err = tmp_path / "out", tmp_path / "err"
    out.write_text("INFO starting\n(EngineCore pid=7) ValueError: No memory for the cache.\n")
    err.write_text(":job_id:01\nLoading: 50%|###\n  raise e\nEngineDeadError: see above\n")
    both = "ValueError: No memory for the cache. | EngineDeadError: see above"
    assert last_words([str(out), str(err), str(tmp_path / "none")]) == both
    out.write_text("INFO starting\nINFO out of memory\n")
    err.write_text(":job_id:01\n")
    assert last_words([str(out), str(err)]) == "INFO starting | INFO out of memory"
    assert last_exceptions(["INFO starting", "INFO out of memory"]) == ""
