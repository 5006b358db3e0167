"""Clusters as Python objects: what a cluster file says, typed, checked by the very code that checks files.

    from orbit_core.spec.build import ApiCall, Cluster, Step, secret

    files = Step("files", "satellite/orbit/get-files", config={"path": "/home/me/papers", "extension": "pdf"})
    text = Step("text", "satellite/orbit/parse-pdf", timeout="5m")
    post = Step(
        "post", "satellite/orbit/http-request",
        config={"url": "https://example.com/new", "headers": {"Authorization": f"Bearer {secret('TOKEN')}"}},
        input={"text": text.output["text"], "file": files.output["name"]},
    )
    cluster = Cluster("me/texts", sla="1h", triggers=[ApiCall()], steps=[files, text, post], secrets=["TOKEN"])
    cluster.check()        # every problem, each with its place: steps[2].config["url"]
    cluster.to_yaml()      # the same cluster as a file
    client.submit(cluster)

Nothing is decided here: an object says what a file would say, and `orbit_core.spec.loader` says what it means. What
is left out has the format's own default. Everything public is named here.
"""

from orbit_core.spec.build.cluster import Cluster, Failure
from orbit_core.spec.build.references import Ref, of_failure, of_run, secret, trigger
from orbit_core.spec.build.step import Gather, Resources, Retry, Step
from orbit_core.spec.build.triggers import ApiCall, ClusterFinished, Cron, S3Upload, Trigger, Webhook

__all__ = [
    "ApiCall",
    "Cluster",
    "ClusterFinished",
    "Cron",
    "Failure",
    "Gather",
    "Ref",
    "Resources",
    "Retry",
    "S3Upload",
    "Step",
    "Trigger",
    "Webhook",
    "of_failure",
    "of_run",
    "secret",
    "trigger",
]
