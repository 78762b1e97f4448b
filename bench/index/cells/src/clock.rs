//! Clocks, and what the kernel knows of a thread.

use std::time::{Duration, Instant};

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of the process, all its threads: what an index leaves to threads of its own counts too.
pub fn process_cpu() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to `time`, which lives and is of the type that it expects.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(failed, 0, "the system has no CPU clocks");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often the calling thread has lost its core, to others or by waiting, since it began.
pub fn context_switches() -> i64 {
    // SAFETY: all zeros is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to `usage`, which lives and is of the type that it expects.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    assert_eq!(failed, 0, "the system does not count context switches");
    usage.ru_nivcsw + usage.ru_nvcsw
}

/// Nanoseconds that a reading of [`Instant`] takes: the median of many.
pub fn reading_costs() -> u32 {
    let mut last = Instant::now();
    let mut costs: Vec<u32> = (0..20_000)
        .map(|_| {
            let now = Instant::now();
            let cost = (now - last).as_nanos() as u32;
            last = now;
            cost
        })
        .collect();
    let middle = costs.len() / 2;
    *costs.select_nth_unstable(middle).1
}

/// Bytes of the process that are in memory.
pub fn resident() -> i64 {
    const FIELD: usize = 1;
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages: i64 = text.split(' ').nth(FIELD).and_then(|field| field.parse().ok()).expect("statm(5)");
    // SAFETY: asks for a constant.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
}
