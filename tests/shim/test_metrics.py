"""What Prometheus reads is what was counted, whatever the names hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from registry_shim.metrics import Metrics
from registry_shim.status import LATENCY_BUCKETS
from tests.shim.samples import NOW, collection, decided, traffic


def _read(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return each sample by name and label values."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    samples = [sample for family in families for sample in family.samples]
    read = {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}
    assert len(read) == len(samples)
    return read


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: NOW, version="1.2")


def test_decisions_are_counted_by_outcome_and_reason(metrics: Metrics) -> None:
    for each in (decided(), decided(), decided(outcome="allowed", reason=""), decided(outcome="audited")):
        metrics.decided(each)
    read = _read(metrics)
    assert read["trust_shim_decisions_total", ("denied", "unsigned")] == 2
    assert read["trust_shim_decisions_total", ("allowed", "")] == 1
    assert read["trust_shim_decisions_total", ("audited", "unsigned")] == 1


def test_a_reason_that_is_none_makes_no_label_of_its_own(metrics: Metrics) -> None:
    for number in range(100):
        metrics.decided(decided(reason=f"made-up-{number}"))
    assert _read(metrics)["trust_shim_decisions_total", ("denied", "other")] == 100


def test_traffic_of_all_workers_is_added_up(metrics: Metrics) -> None:
    metrics.traffic(traffic())
    slow = [0] * len(LATENCY_BUCKETS) + [1]
    metrics.traffic(traffic(worker=2, answers={"200": 2, "403": 1}, cache={"miss": 1}, seconds=40.0, buckets=slow))
    read = _read(metrics)
    assert read["trust_shim_requests_total", ("200",)] == 3
    assert read["trust_shim_requests_total", ("403",)] == 1
    assert read["trust_shim_cache_total", ("hit",)] == read["trust_shim_cache_total", ("miss",)] == 1
    assert read["trust_shim_sent_bytes_total", ()] == 200
    buckets = [read["trust_shim_request_seconds_bucket", (f"{bound:g}",)] for bound in LATENCY_BUCKETS]
    assert buckets == [0, 0, 0, *[1] * (len(LATENCY_BUCKETS) - 3)]
    assert read["trust_shim_request_seconds_bucket", ("+Inf",)] == 2
    assert read["trust_shim_request_seconds_count", ()] == 2
    assert read["trust_shim_request_seconds_sum", ()] == pytest.approx(40.004)


def test_a_collection_tells_its_state_its_expiry_and_its_mode(metrics: Metrics) -> None:
    metrics.collections(
        [
            collection(name="a/", valid_until=NOW + 90, checked_at=NOW - 12),
            collection(name="b/", valid_until=NOW - 5, freshness="refused", mode="audit"),
            collection(name="c/", valid_until=0.0, checked_at=0.0, freshness="unread"),
        ]
    )
    read = _read(metrics)
    assert read["trust_shim_collection_seconds_to_expiry", ("a/",)] == 90
    assert read["trust_shim_collection_seconds_to_expiry", ("b/",)] == -5
    assert read["trust_shim_collection_checked_seconds_ago", ("a/",)] == 12
    assert not {("trust_shim_collection_seconds_to_expiry", ("c/",))} & read.keys()
    states = {key[1]: value for key, value in read.items() if key[0] == "trust_shim_collection_state"}
    assert {labels for labels, value in states.items() if value} == {
        ("a/", "fresh"),
        ("b/", "refused"),
        ("c/", "unread"),
    }
    assert len(states) == 12
    assert read["trust_shim_collection_audit", ("b/",)] == 1
    metrics.collections([])
    assert not [key for key in _read(metrics) if key[0] == "trust_shim_collection_state"]


def test_the_log_the_workers_and_the_build_are_told(metrics: Metrics) -> None:
    assert ("trust_shim_log_seq", ()) not in _read(metrics)
    metrics.log(lines=41, lost=3)
    metrics.workers(alive=1, wanted=2, restarted=4)
    metrics.ready(is_ready=True)
    read = _read(metrics)
    assert read["trust_shim_log_seq", ()] == 41
    assert read["trust_shim_log_lost_total", ()] == 3
    assert read["trust_shim_workers", ()] == 1
    assert read["trust_shim_workers_wanted", ()] == 2
    assert read["trust_shim_workers_restarted_total", ()] == 4
    assert read["trust_shim_ready", ()] == 1
    assert read["trust_shim_start_time_seconds", ()] == NOW
    labels = next(labels for name, labels in read if name == "trust_shim_build_info")
    assert "1.2" in labels


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_of_a_collection_comes_out_as_it_went_in(name: str) -> None:
    metrics = Metrics(lambda: NOW, version="1")
    metrics.collections([collection(name=name)])
    lines = metrics.exposition().decode().split("\n")
    assert all(not line or line.startswith(("# ", "trust_shim_")) for line in lines)
    if "\r" not in name:  # the library's parser splits lines at more than newlines
        assert ("trust_shim_collection_audit", (name,)) in _read(metrics)
