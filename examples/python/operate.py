"""Lists and watches what a running gust does, over its admin API.

Run it by examples/python/run.sh, which generates the messages from proto/ first.
Usage: operate.py HOST:PORT TOKEN [CHANGES]: ends after so many changes of jobs (default 3).
"""

import sys

import grpc
from gust.v1 import admin_pb2, admin_pb2_grpc


def main() -> None:
    address, token = sys.argv[1:3]
    changes = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with grpc.insecure_channel(address) as channel:
        gust = admin_pb2_grpc.AdminServiceStub(channel)
        who = {"metadata": [("authorization", f"Bearer {token}")], "timeout": 60}

        status = gust.GetStatus(admin_pb2.GetStatusRequest(), **who)
        print(f"{status.leader} leads {status.stack} in term {status.term}; jobs: {dict(status.leading.jobs)}")

        page, token = 0, ""
        while True:
            answer = gust.ListJobs(admin_pb2.ListJobsRequest(page_size=2, page_token=token), **who)
            page, token = page + 1, answer.next_page_token
            for job in answer.jobs:
                phase = admin_pb2.JobPhase.Name(job.phase)
                print(f"page {page}: job {job.id} {job.step}: {phase} {job.reason or job.machine}")
            if not token:
                break
        for machine in gust.ListMachines(admin_pb2.ListMachinesRequest(), **who).machines:
            print(f"machine {machine.name}: {machine.machine_type} in {machine.zone or machine.region}")

        seen, synced = 0, False
        for message in gust.WatchJobs(admin_pb2.WatchJobsRequest(), **who):
            event = message.WhichOneof("event")
            if event == "synced":
                synced = True
                print("synced", flush=True)
            elif synced:
                job = getattr(message, event)
                print(f"{event} {job.step}: {admin_pb2.JobPhase.Name(job.phase)} {job.reason or job.outcome}", flush=True)
                seen += 1
                if seen == changes:
                    return

        raise SystemExit("the watch ended by itself")


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from None
