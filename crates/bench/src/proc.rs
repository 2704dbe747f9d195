//! What the system knows of processes and of itself: `/proc` (proc(5)), and the limits of the container (cgroups(7)).
//!
//! Elsewhere than on Linux there is nothing to read, and nothing is what is said.

use std::fs;
use std::path::Path;

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, which is 100 wherever we run.
const TICKS: f64 = 100.0;

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// CPU seconds, user and system.
    pub cpu_s: f64,
    /// Memory that is resident.
    pub rss_bytes: u64,
    /// The most that ever was (`VmHWM`).
    pub rss_peak_bytes: u64,
}

/// What a process has used so far; nothing once it is no more. One that has ended and was not waited for has no memory.
pub fn used(pid: u32) -> Option<Used> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss_bytes = line(&status, "VmRSS:").unwrap_or(0);
    Some(Used { cpu_s: cpu_seconds(&stat)?, rss_bytes, rss_peak_bytes: line(&status, "VmHWM:").unwrap_or(rss_bytes) })
}

/// Fields 14 and 15 of `/proc/PID/stat`. The second field is a name and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let field = |number: usize| after_name.split(' ').nth(number - 3)?.parse::<f64>().ok();
    Some((field(14)? + field(15)?) / TICKS)
}

/// A line of a file that counts in KiB, in bytes.
fn line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// How much the machine has worked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machine {
    all: u64,
    idle: u64,
}

impl Machine {
    /// As of now.
    pub fn now() -> Self {
        fs::read_to_string("/proc/stat").ok().and_then(|stat| Self::parse(&stat)).unwrap_or_default()
    }

    fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
        // Guests are counted in user time already.
        Some(Machine { all: numbers.iter().take(8).sum(), idle: numbers.get(3)? + numbers.get(4)? })
    }

    /// The share of all cores that was busy from then to now; 0 where nothing can be told.
    pub fn busy_since(self, then: Machine) -> f64 {
        let all = self.all.saturating_sub(then.all) as f64;
        let idle = self.idle.saturating_sub(then.idle) as f64;
        if all <= 0.0 { 0.0 } else { (1.0 - idle / all).clamp(0.0, 1.0) }
    }
}

/// Memory of the machine, or of the container where it has less.
pub fn memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|info| line(&info, "MemTotal:")).unwrap_or(0);
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|max| max.trim().parse::<u64>().ok());
    container.map_or(machine, |container| container.min(machine))
}

/// Memory that can be had without taking it from others.
pub fn memory_free_bytes() -> Option<u64> {
    let machine = line(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    let container = read("memory.max").zip(read("memory.current")).map(|(most, now)| most.saturating_sub(now));
    Some(container.map_or(machine, |container| container.min(machine)))
}

/// Cores that this process may use: those it may run on, or the container's share where that is less.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// The processor's model.
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim()));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), str::to_owned)
}

/// The operating system and its kernel.
pub fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"'));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, Linux {}", pretty.unwrap_or(std::env::consts::OS), kernel.trim()).trim_end().to_owned()
}

/// The file system that a path lies on, such as `ext4` or `tmpfs (memory)`.
pub fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let holding = mounted.filter(|(place, _)| path.starts_with(place)).max_by_key(|(place, _)| place.len());
    match holding {
        Some((_, "tmpfs")) => "tmpfs (memory)".to_owned(),
        Some((_, kind)) => format!("{kind} (disk)"),
        None => "unknown".to_owned(),
    }
}

/// Bytes and files that a directory's file system has room for.
pub fn room(directory: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_favail))
}

/// Whether two directories are of one file system; those that cannot be looked at are not.
pub fn is_same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
    device(one).is_some() && device(one) == device(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 4 5 6 7 8 9 10 11 12 13 150 50 16 17 18 19 20 21 2200 23\n";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("broken"), None);
    }

    #[test]
    fn how_busy_the_machine_is_comes_from_the_difference() {
        let then = Machine::parse("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1").expect("it is one");
        let now = Machine::parse("cpu  150 0 150 780 120 0 0 0 90 0\n").expect("it is one");
        assert!((now.busy_since(then) - 0.5).abs() < 1e-9, "{}", now.busy_since(then));
        assert!(then.busy_since(then).abs() < 1e-9);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_seen() {
        let used = used(std::process::id()).expect("we run");
        assert!(used.rss_bytes > 100_000 && used.rss_peak_bytes >= used.rss_bytes, "{used:?}");
        assert!(memory_bytes() >= memory_free_bytes().expect("it is told") && cores() >= 1);
        assert!(room(Path::new("/")).is_some() && !file_system(Path::new("/")).is_empty());
    }
}
