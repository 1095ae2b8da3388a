"""Google's own Python client against the fake GCE.

Usage: gce_client.py PATH_TO_GUST_FAKES

Starts the fake as a process of its own, does with Google's client what gust does with Google, prints what it
saw, and exits non-zero at the first thing that is not as on Google. It knows the fake only by its ready line
and its control surface (docs/fakes.md).
"""

import json
import os
import select
import subprocess
import sys
import time
import urllib.request
import uuid

from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

PROJECT = "gust-demo"
REGION = "us-central1"
LABEL = "gust-stack"
READY_WITHIN_S = 30
OPERATION_WITHIN_S = 180
# Times of the fake's cloud are divided by this, so that the check takes seconds; rate windows are not.
SPEED = 20


class Mismatch(Exception):
    """The fake did not do what Google does."""


def check(holds, what):
    if not holds:
        raise Mismatch(what)


def refused(call, kind, *words):
    """Makes a call that must be refused with this exception, whose text holds these words."""
    try:
        call()
    except kind as error:
        for word in words:
            check(word in str(error), f"{word!r} is missing in {error}")
        return error
    raise Mismatch(f"the call was not refused with {kind.__name__}")


def saw(what, **facts):
    print(json.dumps({"saw": what, **facts}), flush=True)


class Fake:
    """The process, from its ready line to its end."""

    def __init__(self, path):
        self.process = subprocess.Popen([path, "--seed", "7"], stdout=subprocess.PIPE, text=True)
        try:
            self.address = json.loads(self._first_line())
            check(self.address.get("ready") is True, f"not a ready line: {self.address}")
        except BaseException:
            self.end()
            raise

    def _first_line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], READY_WITHIN_S)
        check(ready, f"no ready line within {READY_WITHIN_S} s")
        return self.process.stdout.readline()

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address["control"] + path,
            data=data,
            method=method,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.read().decode()

    def events(self, kind):
        lines = self.control("GET", "/events?after=0").splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def end(self):
        """Ends the process by its id; returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Clients:
    """Google's clients, pointed at the fake."""

    def __init__(self, endpoint):
        options = {
            "credentials": AnonymousCredentials(),
            "client_options": ClientOptions(api_endpoint=endpoint),
        }
        self.regional = compute_v1.RegionInstancesClient(**options)
        self.instances = compute_v1.InstancesClient(**options)
        self.region_operations = compute_v1.RegionOperationsClient(**options)
        self.zone_operations = compute_v1.ZoneOperationsClient(**options)
        self.regions = compute_v1.RegionsClient(**options)
        # The client that follows a long-running operation is built without our endpoint and would ask the
        # real Google: put ours in its place.
        for client in (self.regional, self.instances):
            services = client.transport._extended_operations_services
            services["region_operations"] = self.region_operations
            services["zone_operations"] = self.zone_operations


def template(machine_type, stack):
    disk = compute_v1.AttachedDisk(
        boot=True,
        auto_delete=True,
        type_="PERSISTENT",
        initialize_params=compute_v1.AttachedDiskInitializeParams(
            source_image="projects/debian-cloud/global/images/family/debian-12",
            disk_size_gb=10,
            disk_type="pd-balanced",
        ),
    )
    return {
        "machine_type": machine_type,
        "labels": {LABEL: stack},
        "disks": [disk],
        "network_interfaces": [compute_v1.NetworkInterface(network="global/networks/default")],
        "scheduling": compute_v1.Scheduling(
            provisioning_model="STANDARD",
            automatic_restart=False,
            instance_termination_action="DELETE",
            max_run_duration=compute_v1.Duration(seconds=3600),
        ),
    }


def bulk_request(names, machine_type, stack, request_id):
    return compute_v1.BulkInsertRegionInstanceRequest(
        project=PROJECT,
        region=REGION,
        request_id=request_id,
        bulk_insert_instance_resource_resource=compute_v1.BulkInsertInstanceResource(
            count=len(names),
            min_count=1,
            per_instance_properties={
                name: compute_v1.BulkInsertInstanceResourcePerInstanceProperties() for name in names
            },
            instance_properties=compute_v1.InstanceProperties(**template(machine_type, stack)),
            location_policy=compute_v1.LocationPolicy(target_shape="ANY"),
        ),
    )


def single(name, machine_type, zone, stack):
    parts = template(machine_type, stack)
    parts["machine_type"] = f"zones/{zone}/machineTypes/{machine_type}"
    parts["disks"][0].initialize_params.disk_type = f"zones/{zone}/diskTypes/pd-balanced"
    return compute_v1.Instance(name=name, **parts)


def listed(clients, stack):
    """Our instances over all zones: name to (zone, instance)."""
    request = compute_v1.AggregatedListInstancesRequest(
        project=PROJECT, filter=f'labels.{LABEL} = "{stack}"', max_results=2
    )
    found = {}
    for scope, part in clients.instances.aggregated_list(request=request, retry=None):
        for instance in part.instances:
            found[instance.name] = (scope.removeprefix("zones/"), instance)
    return found


def creates_three(clients, fake):
    names, request_id = ["check-a", "check-b", "check-c"], str(uuid.uuid5(uuid.NAMESPACE_URL, "check-1"))
    request = bulk_request(names, "t2d-standard-2", "check", request_id)
    operation = clients.regional.bulk_insert(request=request, retry=None)
    saw("bulk insert accepted", operation=operation.name)
    operation.result(timeout=OPERATION_WITHIN_S)

    read = clients.region_operations.get(
        project=PROJECT, region=REGION, operation=operation.name, retry=None
    )
    status = read.instances_bulk_insert_operation_metadata.per_location_status
    counts = {zone: (s.target_vm_count, s.created_vm_count) for zone, s in status.items()}
    saw("operation", type=read.operation_type, status=read.status.name, created=counts)
    check(read.status == compute_v1.Operation.Status.DONE, "the operation is not DONE")
    check(read.operation_type == "bulkInsert", f"operationType is {read.operation_type}")
    check(read.client_operation_id == request_id, "clientOperationId is not the request id")
    check(read.operation_group_id, "the operation has no operationGroupId")
    check(sum(created for _, created in counts.values()) == 3, f"created counts are {counts}")
    check(not read.error.errors, "the operation has errors")

    found = listed(clients, "check")
    saw("list by label", found={name: zone for name, (zone, _) in found.items()})
    check(sorted(found) == names, f"listed {sorted(found)}")
    check(listed(clients, "other") == {}, "another label lists machines too")
    for name, (zone, instance) in found.items():
        check(instance.machine_type.endswith(f"zones/{zone}/machineTypes/t2d-standard-2"), "machineType")
        check(instance.status == "RUNNING", f"{name} is {instance.status}")
        check(not instance.network_interfaces[0].access_configs, "it has an external address")
        behind = clients.zone_operations.list(
            request=compute_v1.ListZoneOperationsRequest(
                project=PROJECT, zone=zone, filter='(operationType eq "insert")'
            ),
            retry=None,
        )
        mine = [o for o in behind if o.target_link.endswith(f"/instances/{name}")]
        check(len(mine) == 1, f"{len(mine)} insert operations for {name}")
        check(mine[0].operation_group_id == read.operation_group_id, "another operationGroupId")
    inserted = [e["name"] for e in fake.events("instance.inserted")]
    check(sorted(inserted) == names, f"the log shows {inserted}")
    return found, request, operation.name


def repeats_the_request(clients, request, first):
    again = clients.regional.bulk_insert_unary(request=request, retry=None)
    saw("repeated request id", first=first, again=again.name)
    check(again.name == first, "the repeat started another operation")
    check(len(listed(clients, "check")) == 3, "the repeat made machines")


def duplicates_a_name(clients, found):
    name, (zone, _) = sorted(found.items())[0]
    error = refused(
        lambda: clients.instances.insert_unary(
            project=PROJECT,
            zone=zone,
            instance_resource=single(name, "t2d-standard-2", zone, "check"),
            retry=None,
        ),
        exceptions.Conflict,
        "already exists",
    )
    reason = error.errors[0].get("reason") if error.errors else None
    saw("duplicate name", code=error.code, reason=reason)
    check(reason == "alreadyExists", f"the reason is {reason}")

    # In bulk, the taken name alone is refused, and by its own operation.
    body = bulk_request([name, "check-d"], "t2d-standard-2", "check-dup", "").bulk_insert_instance_resource_resource
    body.location_policy = None
    operation = clients.instances.bulk_insert_unary(
        project=PROJECT, zone=zone, bulk_insert_instance_resource_resource=body, retry=None
    )
    done = wait_zonal(clients, zone, operation.name)
    counts = list(done.instances_bulk_insert_operation_metadata.per_location_status.values())
    created, failed = (sum(getattr(s, f) for s in counts) for f in ("created_vm_count", "failed_to_create_vm_count"))
    saw("duplicate name in bulk", created=created, failed=failed)
    check((created, failed) == (1, 1), f"created {created}, failed {failed}")
    delete(clients, zone, "check-d")


def meets_a_quota(clients):
    region = clients.regions.get(project=PROJECT, region=REGION, retry=None)
    limits = {q.metric: (q.limit, q.usage) for q in region.quotas}
    limit, usage = limits["T2D_CPUS"]
    check(usage == 6, f"T2D_CPUS usage is {usage}, with three machines of 2")
    too_many = int(limit) // 2 + 8
    names = [f"check-q{n}" for n in range(too_many)]
    request = bulk_request(names, "t2d-standard-2", "check-quota", str(uuid.uuid5(uuid.NAMESPACE_URL, "check-2")))
    # All or nothing, so that the refusal is of the whole.
    request.bulk_insert_instance_resource_resource.min_count = too_many

    def create():
        clients.regional.bulk_insert(request=request, retry=None).result(timeout=OPERATION_WITHIN_S)

    error = refused(create, exceptions.Forbidden, "T2D_CPUS")
    saw("refused quota, whole", code=error.code, limit=limit, message=str(error)[-120:])
    check(listed(clients, "check-quota") == {}, "machines exist beyond the quota")

    zone = f"{REGION}-a"

    def create_one():
        clients.instances.insert(
            project=PROJECT,
            zone=zone,
            instance_resource=single("check-big", "t2d-standard-32", zone, "check-quota"),
            retry=None,
        ).result(timeout=OPERATION_WITHIN_S)

    error = refused(create_one, exceptions.Forbidden, "T2D_CPUS")
    saw("refused quota, single", code=error.code, message=str(error)[-120:])
    check(listed(clients, "check-quota") == {}, "the machine exists beyond the quota")


def meets_a_late_quota(clients, fake):
    """Accepted, then refused by the operation: HTTP 200 alone is no success."""
    zone = f"{REGION}-a"
    fault = json.loads(fake.control("POST", "/faults", {"kind": "gce.late-quota", "match": {"name": "check-late"}}))
    operation = clients.instances.insert(
        project=PROJECT,
        zone=zone,
        instance_resource=single("check-late", "t2d-standard-2", zone, "check-quota"),
        retry=None,
    )
    error = refused(lambda: operation.result(timeout=OPERATION_WITHIN_S), exceptions.Forbidden, "QUOTA_EXCEEDED")
    saw("quota refused by the operation", code=error.code, message=str(error)[-120:])
    read = clients.zone_operations.get(project=PROJECT, zone=zone, operation=operation.name, retry=None)
    check([e.code for e in read.error.errors] == ["QUOTA_EXCEEDED"], f"errors are {read.error.errors}")
    details = read.error.errors[0].error_details
    check(any(d.quota_info.metric_name for d in details), f"no quotaInfo in {details}")
    fake.control("DELETE", f"/faults/{fault['id']}")
    check(listed(clients, "check-quota") == {}, "the machine exists beyond the quota")


def refuses_bad_requests(clients):
    body = bulk_request(["check-x"], "no-such-type", "check", "").bulk_insert_instance_resource_resource
    try:
        clients.regional.bulk_insert(
            project=PROJECT, region=REGION, bulk_insert_instance_resource_resource=body, retry=None
        ).result(timeout=OPERATION_WITHIN_S)
        raise Mismatch("a machine type that does not exist was accepted")
    except exceptions.GoogleAPICallError as error:
        saw("unknown machine type", code=error.code, message=str(error)[-120:])
    refused(
        lambda: clients.region_operations.get(project=PROJECT, region=REGION, operation="none", retry=None),
        exceptions.NotFound,
    )
    zero = bulk_request(["check-x"], "t2d-standard-2", "check", str(uuid.UUID(int=0)))
    refused(lambda: clients.regional.bulk_insert_unary(request=zero, retry=None), exceptions.BadRequest)
    saw("unknown operation and zero request id refused")


def wait_zonal(clients, zone, name):
    until = time.monotonic() + OPERATION_WITHIN_S
    while time.monotonic() < until:
        operation = clients.zone_operations.wait(project=PROJECT, zone=zone, operation=name, retry=None)
        if operation.status == compute_v1.Operation.Status.DONE:
            return operation
    raise Mismatch(f"operation {name} is not DONE after {OPERATION_WITHIN_S} s")


def delete(clients, zone, name):
    request_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"delete {name}"))
    request = compute_v1.DeleteInstanceRequest(
        project=PROJECT, zone=zone, instance=name, request_id=request_id
    )
    operation = clients.instances.delete(request=request, retry=None)
    operation.result(timeout=OPERATION_WITHIN_S)
    refused(
        lambda: clients.instances.get(project=PROJECT, zone=zone, instance=name, retry=None),
        exceptions.NotFound,
    )


def deletes_all(clients, fake, found):
    for name, (zone, _) in sorted(found.items()):
        delete(clients, zone, name)
    check(listed(clients, "check") == {}, "deleted machines are still listed")
    deleted = [e["name"] for e in fake.events("instance.deleted")]
    check(len(deleted) == len(set(deleted)) == 4, f"the log shows {deleted}")
    name, (zone, _) = sorted(found.items())[0]
    refused(
        lambda: clients.instances.delete_unary(project=PROJECT, zone=zone, instance=name, retry=None),
        exceptions.NotFound,
    )
    region = clients.regions.get(project=PROJECT, region=REGION, retry=None)
    usage = {q.metric: q.usage for q in region.quotas}
    check(usage["T2D_CPUS"] == 0 and usage["INSTANCES"] == 0, "quota was not given back")
    saw("deleted", machines=deleted)


def main(path):
    # Nothing here may leave the host.
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    fake = Fake(path)
    try:
        fake.control("PUT", "/limits", {"speed": SPEED})
        clients = Clients(fake.address["gce"])
        found, request, operation = creates_three(clients, fake)
        repeats_the_request(clients, request, operation)
        meets_a_quota(clients)
        meets_a_late_quota(clients, fake)
        duplicates_a_name(clients, found)
        refuses_bad_requests(clients)
        deletes_all(clients, fake, found)
    finally:
        code = fake.end()
    check(code == 0, f"gust-fakes ended with {code} on SIGTERM")
    saw("all as on Google")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: gce_client.py PATH_TO_GUST_FAKES")
    try:
        main(sys.argv[1])
    except Mismatch as mismatch:
        sys.exit(f"MISMATCH: {mismatch}")
