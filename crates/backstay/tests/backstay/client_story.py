"""A backup and a restore through the client that was generated from /openapi.json.

    python client_story.py URL TOKEN DATABASES VAULT

Prints what it saw as JSON, for the test to judge.
"""

import json
import sqlite3
import sys
import time
from pathlib import Path

from made_client import AuthenticatedClient
from made_client.api.executions import get_execution, list_job_executions
from made_client.api.jobs import create_job, execute_job, get_job, list_jobs
from made_client.api.objects import list_databases, list_saveset_objects
from made_client.api.restores import list_execution_restores, start_restore
from made_client.api.savesets import list_site_savesets
from made_client.api.sites import check_site, create_site, get_site
from made_client.models import (
    JobObject,
    JobObjectObjectType,
    JobRequest,
    JobRequestJobType,
    JobSettings,
    ProblemDocument,
    RestoreJobSettings,
    RestoreRequest,
    SiteConnectionBody,
    SiteRequest,
    SiteRequestSiteType,
    SiteVault,
)

url, token, databases, vault = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
SITE = "shop"


def good(answer, status):
    """What was answered, with that status and as the type that the document names."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert not isinstance(answer.parsed, ProblemDocument), answer.parsed
    return answer.parsed


def made(answer, status):
    good(answer, status)
    return int(answer.headers["x-resource-id"])


def ended(execution):
    """Asks until the execution has ended."""
    for _ in range(600):
        found = good(get_execution.sync_detailed(SITE, execution, client=client), 200)
        if found.status.value not in ("QUEUED", "RUNNING", "ABORTING"):
            assert found.status.value == "SUCCESSFUL", found
            return found
        time.sleep(0.1)
    raise TimeoutError(f"execution {execution} does not end")


whole = JobObject(
    object_name="shop.db",
    object_type=JobObjectObjectType.DATABASE,
    parent_name="DBC",
    include_all=True,
)

site = SiteRequest(
    site_id=SITE,
    site_type=SiteRequestSiteType.SQLITE,
    connection=SiteConnectionBody(path=databases),
    vault=SiteVault(url=f"file://{vault}"),
)
assert good(create_site.sync_detailed(client=client, body=site), 201).recovery_key.startswith("BSRK1-")
assert good(get_site.sync_detailed(SITE, client=client), 200).site_id == SITE
assert good(check_site.sync_detailed(SITE, client=client), 200).ok
assert [d.object_name for d in good(list_databases.sync_detailed(SITE, client=client), 200)] == ["shop.db"]

request = JobRequest(name="nightly", job_type=JobRequestJobType.BACKUP, job_settings=JobSettings(objects=[whole]))
job = good(create_job.sync_detailed(SITE, client=client, body=request), 201).job_id
backup = made(execute_job.sync_detailed(SITE, job, client=client), 202)
assert ended(backup).saveset_id == 1
objects = good(list_saveset_objects.sync_detailed(SITE, job, backup, client=client), 200)
assert {o.object_type.value for o in objects} >= {"DATABASE", "TABLE"}, objects

settings = RestoreJobSettings(objects=[whole], restore_to_a_different_database_on_target_site="copy.db")
request = RestoreRequest(name="bring it back", target_site=SITE, job_settings=settings)
restore = made(start_restore.sync_detailed(SITE, job, backup, client=client, body=request), 202)
ended(restore)
restores = good(list_execution_restores.sync_detailed(SITE, job, backup, client=client), 200)
assert [int(r.execution_id) for r in restores] == [restore]
assert len(good(list_job_executions.sync_detailed(SITE, job, client=client), 200)) == 1
assert len(good(list_jobs.sync_detailed(SITE, client=client), 200)) == 2
assert good(get_job.sync_detailed(SITE, job, client=client), 200).name == "nightly"
savesets = good(list_site_savesets.sync_detailed(SITE, client=client), 200)
nowhere = get_job.sync_detailed(SITE, 4711, client=client)
assert nowhere.status_code == 404 and isinstance(nowhere.parsed, ProblemDocument), nowhere

rows = sqlite3.connect(Path(databases) / "copy.db").execute("SELECT count(*) FROM item").fetchone()[0]
print(json.dumps({"rows": rows, "savesets": [s.saveset_id for s in savesets], "refused": nowhere.parsed.code}))
