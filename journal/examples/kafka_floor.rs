//! The limit that a drain is held against: librdkafka's batch call in a group, every record dropped unread.
//!
//! `kafka_floor PREFIX RECORDS`: of the topic `PREFIX` + `iot.raw` on `HIGHWATER_TEST_KAFKA`. Prints what it used as JSON.
#![allow(unsafe_code, reason = "librdkafka's batch call, with nothing around it")]

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use std::ffi::CString;
use std::time::Instant;

/// Records of one call.
const BATCH: usize = 2_048;
const WAIT_MS: i32 = 100;

unsafe extern "C" fn on_rebalance(
    rk: *mut c::rd_kafka_t,
    code: c::rd_kafka_resp_err_t,
    partitions: *mut c::rd_kafka_topic_partition_list_t,
    _: *mut std::ffi::c_void,
) {
    let assigned = code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    // SAFETY: both are librdkafka's own.
    unsafe { c::rd_kafka_assign(rk, if assigned { partitions } else { std::ptr::null() }) };
}

#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (prefix, records): (&str, usize) = (&args[1], args[2].parse().unwrap());
    let begun = Instant::now();
    // The settings are those of a member of ours (`journal::kafka::KafkaConfig`).
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", std::env::var("HIGHWATER_TEST_KAFKA").unwrap())
        .set("group.id", format!("{prefix}floor"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "range")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "16384")
        .set("queued.min.messages", "20000")
        .set("fetch.message.max.bytes", "262144");
    let settings = std::env::var("HIGHWATER_BENCH_LIBRDKAFKA").unwrap_or_default();
    for (name, value) in settings.split_whitespace().filter_map(|setting| setting.split_once('=')) {
        config.set(name, value);
    }
    let native = config.create_native_config().unwrap();
    let topic = CString::new(format!("{prefix}iot.raw")).unwrap();
    let mut why = [0; 512];
    let mut dropped = 0;
    // SAFETY: the calls follow librdkafka's manual; everything lives until the end of the program.
    unsafe {
        c::rd_kafka_conf_set_rebalance_cb(native.ptr(), Some(on_rebalance));
        let kind = c::rd_kafka_type_t::RD_KAFKA_CONSUMER;
        let rk = c::rd_kafka_new(kind, native.ptr(), why.as_mut_ptr(), why.len());
        std::mem::forget(native);
        c::rd_kafka_poll_set_consumer(rk);
        let list = c::rd_kafka_topic_partition_list_new(1);
        c::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), -1);
        c::rd_kafka_subscribe(rk, list);
        let queue = c::rd_kafka_queue_get_consumer(rk);
        let mut messages = vec![std::ptr::null_mut::<c::rd_kafka_message_t>(); BATCH];
        while dropped < records {
            let taken = c::rd_kafka_consume_batch_queue(queue, WAIT_MS, messages.as_mut_ptr(), BATCH);
            for message in &messages[..usize::try_from(taken).unwrap_or(0)] {
                dropped += usize::from((**message).err == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
                c::rd_kafka_message_destroy(*message);
            }
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: Vec<f64> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse().unwrap())
        .collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    let cpu = (ticks[0] + ticks[1]) / 100.0;
    println!(r#"{{"cpu_seconds":{cpu},"wall_seconds":{wall},"peak_bytes":{}}}"#, kibibytes << 10);
}
