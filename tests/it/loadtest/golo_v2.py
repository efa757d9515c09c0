"""A load test as those of go-lo's second version are: it listens at a port of its own, prints nothing, and says in its
answer what it asked for. Arguments: its port, a URL, and, to be a mixture, `prints`."""

import json, sys, time, urllib.request, uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

PORT, URL, PRINTS = sys.argv[1], sys.argv[2], "prints" in sys.argv[3:]


def trigger(context, _):
    sequence_id, begun = str(uuid.uuid4()), time.perf_counter_ns()
    with urllib.request.urlopen(f"{URL}/{sequence_id}", timeout=10) as answer:
        size, status = len(answer.read()), f"{answer.status} {answer.reason}"
    took = time.perf_counter_ns() - begun
    if PRINTS:
        output = {"sequenceID": sequence_id, "url": URL, "method": "GET", "status": 200, "size": size, "error": None}
        output |= {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "duration": took}
        print(json.dumps(output), flush=True)
    # In any order: there it is a map.
    tags = {"status": status, "size": str(size), "url": f"{URL}/{sequence_id}"}
    tags = [Tag(key=key, value=value) for key, value in tags.items()]
    return Response(id=sequence_id, jobName=context.jobName, duration=took, tags=tags)


JOB = """
name: "go-lo.proto" package: "golo" syntax: "proto3"
message_type { name: "Context" field { name: "jobName" number: 1 type: TYPE_STRING } }
message_type {
    name: "Response"
    field { name: "id" number: 1 type: TYPE_STRING }
    field { name: "jobName" number: 2 type: TYPE_STRING }
    field { name: "error" number: 3 type: TYPE_BOOL }
    field { name: "duration" number: 4 type: TYPE_UINT64 }
    field { name: "output" number: 5 type: TYPE_STRING }
    field { name: "tags" number: 6 type: TYPE_MESSAGE label: LABEL_REPEATED type_name: ".golo.ResponseTag" }
}
message_type {
    name: "ResponseTag"
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_STRING }
}
"""
POOL = descriptor_pool.DescriptorPool()
POOL.Add(text_format.Parse(JOB, descriptor_pb2.FileDescriptorProto()))
Context, Response, Tag = (
    message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"golo.{name}"))
    for name in ("Context", "Response", "ResponseTag")
)

server = grpc.server(ThreadPoolExecutor(20))
call = grpc.unary_unary_rpc_method_handler(trigger, Context.FromString, Response.SerializeToString)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("golo.Job", {"Trigger": call})])
server.add_insecure_port(f"127.0.0.1:{PORT}")
server.start()
server.wait_for_termination()
