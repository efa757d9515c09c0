"""A compiled load test in Python: a journey of one request. Its URL is the first argument, which the test's type gives it.

It needs the packages grpcio and protobuf. The runner starts it, as README shows: any program will do that serves
golo.Job over gRPC where CANIHAZ_RPC_ADDR says, and prints a line of JSON a request.
"""

import json, os, sys, threading, time, urllib.error, urllib.request, uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

URL = sys.argv[1]
AT_ONCE = 20  # as many as the type's overtime
PRINTING = threading.Lock()


def trigger(told, _):
    """Runs a journey."""
    sequence_id, begun = str(uuid.uuid4()), time.perf_counter_ns()
    status, error = do_request(sequence_id, urllib.request.Request(URL))
    error = error or ("" if status < 400 else f"status {status}")
    took = time.perf_counter_ns() - begun
    return Response(id=sequence_id, jobName=told.jobName, error=bool(error), duration=took, output=error)


def do_request(sequence_id, request):
    """Performs a request and prints a line about it; gives back the status and, where there is none, why."""
    status, size, error, begun = 0, -1, None, time.perf_counter_ns()
    try:
        try:
            answer = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as of_status:
            answer = of_status
        with answer:
            size, status = len(answer.read()), answer.status
    except Exception as no_answer:
        error = str(no_answer) or repr(no_answer)
    output = {
        "sequenceID": sequence_id,
        "url": request.full_url,
        "method": request.get_method(),
        "status": status,
        "size": size,
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "duration": time.perf_counter_ns() - begun,
        "error": error,
    }
    with PRINTING:
        print(json.dumps(output), flush=True)
    return status, error


# job.proto, as a compiler would have it.
JOB = """
name: "job.proto" package: "golo" syntax: "proto3"
message_type { name: "Context" field { name: "jobName" number: 1 type: TYPE_STRING } }
message_type {
    name: "Response"
    field { name: "id" number: 1 type: TYPE_STRING }
    field { name: "jobName" number: 2 type: TYPE_STRING }
    field { name: "error" number: 3 type: TYPE_BOOL }
    field { name: "duration" number: 4 type: TYPE_UINT64 }
    field { name: "output" number: 5 type: TYPE_STRING }
}
"""
POOL = descriptor_pool.DescriptorPool()
POOL.Add(text_format.Parse(JOB, descriptor_pb2.FileDescriptorProto()))
Context = message_factory.GetMessageClass(POOL.FindMessageTypeByName("golo.Context"))
Response = message_factory.GetMessageClass(POOL.FindMessageTypeByName("golo.Response"))

server = grpc.server(ThreadPoolExecutor(AT_ONCE))
call = grpc.unary_unary_rpc_method_handler(trigger, Context.FromString, Response.SerializeToString)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("golo.Job", {"Trigger": call})])
server.add_insecure_port(os.environ.get("CANIHAZ_RPC_ADDR", "127.0.0.1:9999"))
server.start()
server.wait_for_termination()
