//! Threads that tokenize long prompts stand back behind those that serve requests.

use std::cell::Cell;

thread_local! {
    static STANDS_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread less of a contested core than others get, from now on; once per thread, and nothing where
/// the system knows no priority of a single thread.
///
/// A pool of four threads on long prompts would otherwise take four fifths of the core that an event loop runs on: with
/// eight cold prompts of 400 KB at a time, a loop on two cores was ready for 75 % of the time and had none. What the pool
/// does may take longer; what the loop does may not.
pub fn stand_back() {
    if !STANDS_BACK.replace(true) {
        lower();
    }
}

/// One tenth of the usual share: `nice` 10 has a weight of 110, 0 of 1,024 (sched(7)). With 19 a busy loop would starve
/// the pool.
#[cfg(target_os = "linux")]
fn lower() {
    const PRIO_PROCESS: i32 = 0;
    const CALLING_THREAD: u32 = 0;
    const NICE: i32 = 10;
    unsafe extern "C" {
        fn setpriority(which: i32, who: u32, priority: i32) -> i32;
    }
    // SAFETY: a call of libc with three numbers and no memory. On Linux a priority is a thread's own, and who has a
    // better one may always lower it; if it fails, the thread goes on as it was.
    unsafe { setpriority(PRIO_PROCESS, CALLING_THREAD, NICE) };
}

#[cfg(not(target_os = "linux"))]
fn lower() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The thread's niceness: field 19 of its `stat` (proc(5)), counted from after the name in brackets.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
    }

    #[test]
    fn the_calling_thread_alone_stands_back() {
        let before = nice();
        std::thread::spawn(|| {
            stand_back();
            stand_back();
            assert!(nice() >= 10);
        })
        .join()
        .expect("no panic");
        assert_eq!(nice(), before);
    }
}
