#!/usr/bin/env python3
"""Somebody else's client, Confluent's for Python: writes bare JSON to `iot.raw`, reads committed results by the registry.

    confluent.py write BROKERS TOPIC PARTITIONER <LINES    each line a reading; prints `DEVICE PARTITION` as delivered
    confluent.py read BROKERS REGISTRY TOPIC               prints every committed record as a line of JSON

Knows nothing of this project but what its documents say: the key is the device, the partitioner murmur2, readers ask for
read_committed. Needs `confluent-kafka[avro]`.
"""
import datetime
import json
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

WAIT_SECONDS = 30


def write(brokers, topic, partitioner):
    failed = []
    producer = Producer({"bootstrap.servers": brokers, "partitioner": partitioner, "acks": "all"})

    def delivered(error, message):
        if error:
            failed.append(str(error))
        else:
            print(message.key().decode(), message.partition())

    for line in sys.stdin:
        key = json.loads(line)["device_id"]
        producer.produce(topic, key=key, value=line.strip(), on_delivery=delivered)
        producer.poll(0)
    left = producer.flush(WAIT_SECONDS)
    if failed or left:
        sys.exit(f"{left} not delivered; {failed[:1]}")


def plain(value):
    """Microseconds since the epoch for a point of time."""
    if isinstance(value, datetime.datetime):
        since = value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return str(value)


def read(brokers, registry, topic):
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": f"{topic}.reader",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    partitions = consumer.list_topics(topic, WAIT_SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    unfinished = set(partitions)
    while unfinished:
        message = consumer.poll(WAIT_SECONDS)
        if message is None:
            sys.exit("nothing came")
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            unfinished.discard(message.partition())
            continue
        context = SerializationContext(topic, MessageField.VALUE, message.headers())
        row = decode(message.value(), context)
        row["key"] = message.key().decode()
        print(json.dumps(row, default=plain))
    consumer.close()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
