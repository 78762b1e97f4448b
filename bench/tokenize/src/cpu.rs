//! CPU time, and the rows that the TypeScript side reads.

use std::time::Duration;

/// A subject runs on until it has used that much CPU time in a round: the clock's own error is then far below 1 %.
const ROUND: Duration = Duration::from_millis(300);

/// CPU nanoseconds of one call, the average of many after one that is not counted.
pub fn cpu_ns(mut call: impl FnMut()) -> f64 {
    call();
    let start = process_cpu();
    let mut calls = 0_u32;
    loop {
        call();
        calls += 1;
        let spent = process_cpu() - start;
        if spent >= ROUND {
            return spent.as_nanos() as f64 / f64::from(calls);
        }
    }
}

/// Writes a row with its samples.
pub fn emit(case: &str, subject: &str, metric: &str, unit: &str, samples: &[f64]) {
    let row = serde_json::json!({
        "case": case, "subject": subject, "metric": metric, "unit": unit, "samples": samples,
    });
    println!("{row}");
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

/// CPU time of this process, all threads (Linux).
pub fn process_cpu() -> Duration {
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the pointer is to a live Timespec, whose layout is that of 64-bit Linux.
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}
