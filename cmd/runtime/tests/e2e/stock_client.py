"""Drives the service as a stranger with a stock gRPC client would: knows nothing but what reflection says.

Usage: stock_client.py HOST:PORT BUNDLE.zip BOT_ID
Deploys the bundle, waits until the bot runs, reads a line of its output, stops it and deletes it. Prints each step; exits
with 0 only if every one was seen.
"""

import pathlib
import sys
import time

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "the0.bot.v1.BotRunner"
DEADLINE_S = 60


class Client:
    """Calls methods by name, with messages made from the reflected descriptors."""

    def __init__(self, channel):
        self.channel = channel
        self.reflection = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.reflection)
        self.service = self.pool.FindServiceByName(SERVICE)

    def message(self, kind, /, **fields):
        found = self.pool.FindMessageTypeByName(f"the0.bot.v1.{kind}")
        return message_factory.GetMessageClass(found)(**fields)

    def call(self, method, request):
        found = self.service.methods_by_name[method]
        reply = message_factory.GetMessageClass(found.output_type)
        path = f"/{SERVICE}/{method}"
        encode = lambda message: message.SerializeToString()
        kinds = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, False): self.channel.stream_unary,
        }
        make = kinds[(found.client_streaming, found.server_streaming)]
        return make(path, request_serializer=encode, response_deserializer=reply.FromString)(request, timeout=DEADLINE_S)

    def healthy(self, service):
        check = self.pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]
        ask, reply = (message_factory.GetMessageClass(kind) for kind in (check.input_type, check.output_type))
        make = self.channel.unary_unary
        path = "/grpc.health.v1.Health/Check"
        call = make(path, request_serializer=ask.SerializeToString, response_deserializer=reply.FromString)
        return call(ask(service=service), timeout=DEADLINE_S).status == 1


def main(address, bundle_path, bot_id):
    channel = grpc.insecure_channel(address)
    client = Client(channel)
    services = sorted(client.reflection.get_services())
    print("services:", ", ".join(services))
    assert SERVICE in services and "grpc.health.v1.Health" in services, services
    for part in ["", SERVICE]:
        assert client.healthy(part), part

    bundle = pathlib.Path(bundle_path).read_bytes()

    def upload():
        header = client.message(
            "DeployHeader",
            bot_id=bot_id,
            name="stock",
            version="1.0.0",
            runtime="python3.11",
            entrypoint="main.py",
            config_json="{}",
            bundle_bytes=len(bundle),
        )
        yield client.message("DeployBotRequest", header=header)
        for start in range(0, len(bundle), 64 * 1024):
            yield client.message("DeployBotRequest", chunk=bundle[start : start + 64 * 1024])

    deployed = client.call("DeployBot", upload())
    print("deployed:", deployed.bot.id, "created" if deployed.created else "updated")
    assert deployed.created and deployed.bot.id == bot_id

    ask = client.message("GetBotStatusRequest", bot_id=bot_id)
    running = client.service.methods_by_name["GetBotStatus"].output_type.fields_by_name["phase"].enum_type.values_by_name["PHASE_RUNNING"].number
    deadline = time.monotonic() + DEADLINE_S
    while (status := client.call("GetBotStatus", ask)).phase != running:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    print("running: attempt", status.attempt, "pid", status.pid)

    for line in client.call("StreamLogs", client.message("StreamLogsRequest", bot_id=bot_id, follow=True)):
        print("log:", line.text.decode())
        break

    stopped = client.call("StopBot", client.message("StopBotRequest", bot_id=bot_id))
    print("stopped:", stopped.status.reason)
    assert stopped.status.pid == 0 and not stopped.status.enabled, stopped

    client.call("DeleteBot", client.message("DeleteBotRequest", bot_id=bot_id))
    try:
        client.call("GetBotStatus", ask)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND, error
        print("deleted: NOT_FOUND afterwards")
    else:
        raise AssertionError("the bot is still there")

    bad = client.message("GetBotStatusRequest", bot_id="a/b")
    try:
        client.call("GetBotStatus", bad)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        assert b"bot_id" in details, details
        print("bad id: INVALID_ARGUMENT with the field's name")
    else:
        raise AssertionError("a bad id was accepted")


if __name__ == "__main__":
    main(*sys.argv[1:4])
