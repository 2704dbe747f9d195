//! What the system knows of this process, from `/proc` (Linux, proc(5)); elsewhere there is nothing to export.

use std::fs;

use prometheus::{Registry, Result};
use rustix::process::{Resource, getrlimit};

use super::names::{self, Metric};
use super::observed::{self, Values};

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, which is 100 wherever we run.
const TICKS: f64 = 100.0;

const EXPORTED: &[Metric] =
    &[names::CPU, names::RESIDENT, names::VIRTUAL, names::OPEN_FDS, names::MAX_FDS, names::STARTED, names::BUILD];

pub(super) fn register(registry: &Registry) -> Result<()> {
    observed::register(registry, EXPORTED, Box::new(values))
}

fn values(metric: &Metric) -> Values {
    if metric.name == names::BUILD.name {
        return vec![(vec![env!("CARGO_PKG_VERSION").to_owned()], 1.0)];
    }
    let value = match metric.name {
        name if name == names::CPU.name => stat().and_then(|stat| cpu_seconds(&stat)),
        name if name == names::RESIDENT.name => status("VmRSS:"),
        name if name == names::VIRTUAL.name => status("VmSize:"),
        // One of them is the directory that is being read.
        name if name == names::OPEN_FDS.name => fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64 - 1.0),
        name if name == names::MAX_FDS.name => getrlimit(Resource::Nofile).current.map(|most| most as f64),
        name if name == names::STARTED.name => started(),
        _ => None,
    };
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

fn stat() -> Option<String> {
    fs::read_to_string("/proc/self/stat").ok()
}

/// A field of `/proc/self/stat`, counted from 1 as in proc(5). The second one is a name and may hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(number.checked_sub(3)?)?.trim().parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn started() -> Option<f64> {
    let booted = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + field(&stat()?, 22)? / TICKS)
}

/// A line of `/proc/self/status`, which counts in KiB, in bytes.
fn status(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 4 5 6 7 8 9 10 11 12 13 150 50 16 17 18 19 20 21 2200 23\n";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!((field(stat, 22), field(stat, 99), field("broken", 14)), (Some(2200.0), None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_everything() {
        for metric in EXPORTED {
            let values = values(metric);
            assert!(values.len() == 1 && values[0].1 >= 0.0, "{}: {values:?}", metric.name);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let age = now - started().unwrap_or_default();
        assert!((-2.0..3_600.0).contains(&age), "{age}");
        assert!(status("VmRSS:") > Some(1e6));
    }
}
