"""Holds the demo's summary against what it must say."""

import json
import sys

summary = json.load(open(sys.argv[1], encoding="utf-8"))
fields = {
    "subscribers", "providers", "verifications", "correct", "scored", "scores_correct", "colours", "latency_ms",
    "throughput_per_s", "logs_verified", "duration_s",
}
assert fields <= summary.keys(), f"missing: {fields - summary.keys()}"
assert summary["verifications"] >= 200 and summary["correct"] == summary["verifications"], summary
assert summary["scored"] == summary["scores_correct"] == summary["verifications"], summary
assert summary["providers"] == 4 and summary["logs_verified"] is True, summary
assert set(summary["latency_ms"]) == {"p50", "p95", "p99", "max"}, summary
print(f"{summary['correct']} of {summary['verifications']} verifications equal the truth, each with its joint score")
