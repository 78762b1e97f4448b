// Shared bench body; compiled against dynamo-kv-router 1.0.2 (feature v10), 1.2.1 (v12), 1.6.1 (v16).
use dynamo_kv_router as kvr;
use kvr::indexer::KvIndexerInterface;
use kvr::protocols::*;
use kvr::{PositionalIndexer, RadixTree, SyncIndexer, ThreadPoolIndexer};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[path = "workload.rs"]
mod workload;
use workload::*;

#[cfg(feature = "memcount")]
mod memcount {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    pub static LIVE: AtomicUsize = AtomicUsize::new(0);
    pub struct A;
    unsafe impl GlobalAlloc for A {
        unsafe fn alloc(&self, l: Layout) -> *mut u8 { LIVE.fetch_add(l.size(), Relaxed); unsafe { System.alloc(l) } }
        unsafe fn dealloc(&self, p: *mut u8, l: Layout) { LIVE.fetch_sub(l.size(), Relaxed); unsafe { System.dealloc(p, l) } }
        unsafe fn realloc(&self, p: *mut u8, l: Layout, n: usize) -> *mut u8 {
            LIVE.fetch_add(n, Relaxed); LIVE.fetch_sub(l.size(), Relaxed); unsafe { System.realloc(p, l, n) }
        }
    }
}
#[cfg(feature = "memcount")]
#[global_allocator]
static GA: memcount::A = memcount::A;
fn live() -> usize {
    #[cfg(feature = "memcount")]
    { memcount::LIVE.load(Ordering::Relaxed) }
    #[cfg(not(feature = "memcount"))]
    { 0 }
}

const VER: &str = if cfg!(feature = "v16") { "1.6.1" } else if cfg!(feature = "v12") { "1.2.1" } else { "1.0.2" };

fn ev(id: u64, e: &StoreEv) -> RouterEvent {
    RouterEvent::new(e.worker, KvCacheEvent {
        event_id: id,
        data: KvCacheEventData::Stored(KvCacheStoreData {
            parent_hash: e.parent.map(ExternalSequenceBlockHash),
            #[cfg(not(feature = "v10"))]
            start_position: None,
            blocks: e.blocks.iter().map(|&(l, s)| KvCacheStoredBlockData {
                block_hash: ExternalSequenceBlockHash(s),
                tokens_hash: LocalBlockHash(l),
                mm_extra_info: None,
            }).collect(),
        }),
        dp_rank: 0,
    })
}
fn evs(w: &Workload) -> Vec<RouterEvent> { w.events.iter().enumerate().map(|(i, e)| ev(i as u64, e)).collect() }

fn check(name: &str, got: &OverlapScores, exp: &[(u64, u32)]) {
    let mut g: Vec<(u64, u32)> = got.scores.iter().map(|(k, v)| (k.worker_id, *v)).collect();
    g.sort();
    assert!(g == exp, "{name}: wrong scores: got {:?} expected {:?}", &g[..g.len().min(12)], &exp[..exp.len().min(12)]);
}

fn next_seq(parent: u64, local: u64) -> u64 {
    let mut b = [0u8; 16];
    b[..8].copy_from_slice(&parent.to_le_bytes());
    b[8..].copy_from_slice(&local.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(&b, 1337)
}

impl Params { fn name(&self) -> &'static str { if self.tree { "tree8" } else if self.best { "best8" } else if self.sys { "sys8" } else { "fan8" } } }

#[repr(C)] struct Ts { s: i64, n: i64 }
unsafe extern "C" { fn clock_gettime(id: i32, t: *mut Ts) -> i32; }
fn clk(id: i32) -> u64 { let mut t = Ts { s: 0, n: 0 }; unsafe { clock_gettime(id, &mut t) }; t.s as u64 * 1_000_000_000 + t.n as u64 }
fn tcpu() -> u64 { clk(3) } // CLOCK_THREAD_CPUTIME_ID
fn pcpu() -> u64 { clk(2) } // CLOCK_PROCESS_CPUTIME_ID

struct Opt { reps: usize, ms: u64, threads: Vec<usize>, rt: tokio::runtime::Runtime }

fn emit(name: &str, w: &Workload, metric: &str, vals: &[f64], unit: &str) {
    let mut v = vals.to_vec();
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    println!("{{\"ver\":\"{VER}\",\"index\":\"{name}\",\"scen\":\"{}\",\"W\":{},\"D\":{},\"groups\":{},\"entries\":{},\"metric\":\"{metric}\",\"unit\":\"{unit}\",\"min\":{:.1},\"med\":{:.1},\"max\":{:.1}}}",
        w.p.name(), w.p.workers, w.p.depth, w.groups, w.entries, v[0], v[v.len() / 2], v[v.len() - 1]);
}

fn lookups<B: SyncIndexer>(name: &str, w: &Workload, b: &B, q: &[Vec<LocalBlockHash>], o: &Opt) {
    for (i, s) in q.iter().enumerate() { check(name, &b.find_matches(s, false), &w.expected[i]); }
    for &nt in &o.threads {
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for rep in 0..o.reps {
            let (total, span, cput) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
            let bar = std::sync::Barrier::new(nt);
            std::thread::scope(|s| {
                for t in 0..nt {
                    let (total, bar, span, cput) = (&total, &bar, &span, &cput);
                    s.spawn(move || {
                        let ord = order(w.groups, 1 << 14, 77 + t as u64 + 1000 * rep as u64);
                        for i in 0..256 { black_box(b.find_matches(&q[ord[i] as usize], false)); } // warm-up
                        bar.wait();
                        let (t0, c0) = (Instant::now(), tcpu());
                        let (mut n, mut i) = (0u64, 0usize);
                        let c = loop {
                            for _ in 0..32 {
                                black_box(b.find_matches(black_box(&q[ord[i & 16383] as usize]), false));
                                i += 1;
                            }
                            n += 32;
                            let c = tcpu() - c0;
                            if c >= o.ms * 1_000_000 { break c; }
                        };
                        total.fetch_add(n, Ordering::Relaxed);
                        cput.fetch_add(c, Ordering::Relaxed);
                        span.fetch_max(t0.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    });
                }
            });
            let n = total.load(Ordering::Relaxed) as f64;
            wall.push(span.load(Ordering::Relaxed) as f64 / n);
            cpu.push(cput.load(Ordering::Relaxed) as f64 / n);
        }
        // cpu: thread-CPU ns per lookup (robust to preemption); wall: wall ns per lookup of all threads together
        emit(name, w, &format!("find_{nt}t_cpu"), &cpu, "ns/lookup");
        emit(name, w, &format!("find_{nt}t_wall"), &wall, "ns/lookup");
    }
}

/// Store all events through ThreadPoolIndexer with 1 event thread; drained via shutdown() (FIFO + join).
fn pool<B: SyncIndexer>(name: &str, w: &Workload, mk: impl Fn() -> B, q: &[Vec<LocalBlockHash>], o: &Opt) {
    let (mut store, mut scpu) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..o.reps {
        last = None;
        let es = evs(w);
        let p = ThreadPoolIndexer::new(mk(), 1, 16);
        let (t0, c0, m0) = (Instant::now(), pcpu(), tcpu());
        o.rt.block_on(async { for e in es { p.apply_event(e).await; } });
        let enq = tcpu() - m0;
        KvIndexerInterface::shutdown(&p);
        store.push(t0.elapsed().as_nanos() as f64 / w.entries as f64);
        scpu.push((pcpu() - c0 - enq) as f64 / w.entries as f64);
        last = Some(p);
    }
    emit(name, w, "store_apply_cpu", &scpu, "ns/block"); // event-thread CPU (enqueue excluded)
    emit(name, w, "store_pool1_wall", &store, "ns/block"); // wall, enqueue + apply + drain, 1 event thread
    let p = last.unwrap();
    lookups(name, w, p.backend(), q, o);
    drop(p);
    #[cfg(feature = "memcount")]
    {
        let a = live();
        let es = evs(w);
        let p = ThreadPoolIndexer::new(mk(), 1, 16);
        o.rt.block_on(async { for e in es { p.apply_event(e).await; } p.flush().await; });
        std::thread::sleep(Duration::from_millis(300));
        let b = live();
        emit(name, w, "heap", &[(b - a) as f64 / w.entries as f64], "bytes/entry");
        KvIndexerInterface::shutdown(&p);
    }
}

fn radix(w: &Workload, q: &[Vec<LocalBlockHash>], o: &Opt) {
    let name = "RadixTree";
    let mut store = Vec::new();
    let mut last = None;
    for _ in 0..o.reps {
        last = None;
        let es = evs(w);
        let mut t = RadixTree::new();
        let c0 = tcpu();
        for e in es { t.apply_event(e).unwrap(); }
        store.push((tcpu() - c0) as f64 / w.entries as f64);
        last = Some(t);
    }
    emit(name, w, "store_apply_cpu", &store, "ns/block");
    let t = last.unwrap();
    for (i, s) in q.iter().enumerate() { check(name, &t.find_matches(s.clone(), false), &w.expected[i]); }
    let mut ns = Vec::new();
    for rep in 0..o.reps {
        let ord = order(w.groups, 1 << 14, 77 + 1000 * rep as u64);
        let (mut n, mut i, mut spent) = (0u64, 0usize, 0u64);
        while spent < o.ms * 1_000_000 {
            // the API takes Vec by value: clone outside the timed section
            let batch: Vec<_> = (0..64).map(|_| { i += 1; q[ord[i & 16383] as usize].clone() }).collect();
            let c0 = tcpu();
            for s in batch { black_box(t.find_matches(black_box(s), false)); }
            spent += tcpu() - c0;
            n += 64;
        }
        ns.push(spent as f64 / n as f64);
    }
    emit(name, w, "find_1t_cpu", &ns, "ns/lookup");
    drop(t);
    #[cfg(feature = "memcount")]
    {
        let a = live();
        let es = evs(w);
        let mut t = RadixTree::new();
        for e in es { t.apply_event(e).unwrap(); }
        emit(name, w, "heap", &[(live() - a) as f64 / w.entries as f64], "bytes/entry");
    }
}

fn hashing(o: &Opt) {
    let toks: Vec<u32> = { let mut r = SplitMix(5); (0..32768).map(|_| r.next() as u32 % 150000).collect() };
    for bs in [16u32, 64] {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..o.reps {
            let t0 = tcpu();
            let mut n = 0u64;
            while tcpu() - t0 < o.ms * 1_000_000 {
                #[cfg(feature = "v16")]
                black_box(compute_block_hash_for_seq(black_box(&toks), bs, BlockHashOptions::default()));
                #[cfg(feature = "v12")]
                black_box(compute_block_hash_for_seq(black_box(&toks), bs, BlockHashOptions::default()));
                #[cfg(feature = "v10")]
                black_box(compute_block_hash_for_seq(black_box(&toks), bs, None, None));
                n += 1;
            }
            a.push((tcpu() - t0) as f64 / n as f64 / (32768 / bs) as f64);
            #[cfg(feature = "v16")]
            let lh = compute_block_hash_for_seq(&toks, bs, BlockHashOptions::default());
            #[cfg(feature = "v12")]
            let lh = compute_block_hash_for_seq(&toks, bs, BlockHashOptions::default());
            #[cfg(feature = "v10")]
            let lh = compute_block_hash_for_seq(&toks, bs, None, None);
            let t0 = tcpu();
            let mut n = 0u64;
            while tcpu() - t0 < o.ms * 1_000_000 {
                black_box(compute_seq_hash_for_block(black_box(&lh)));
                n += 1;
            }
            b.push((tcpu() - t0) as f64 / n as f64 / lh.len() as f64);
        }
        a.sort_by(|x, y| x.partial_cmp(y).unwrap());
        b.sort_by(|x, y| x.partial_cmp(y).unwrap());
        println!("{{\"ver\":\"{VER}\",\"metric\":\"hash\",\"block_size\":{bs},\"local_ns_per_block_med\":{:.2},\"chain_ns_per_block_med\":{:.2}}}", a[a.len() / 2], b[b.len() / 2]);
    }
}

fn arg(k: &str, d: &str) -> String {
    let mut it = std::env::args();
    while let Some(a) = it.next() { if a == k { return it.next().unwrap(); } }
    d.to_string()
}
fn list(s: &str) -> Vec<usize> { s.split(',').map(|x| x.parse().unwrap()).collect() }

pub fn main() {
    let o = Opt {
        reps: arg("--reps", "3").parse().unwrap(),
        ms: arg("--ms", "250").parse().unwrap(),
        threads: list(&arg("--threads", "1,2")),
        rt: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
    };
    let only = arg("--index", "all");
    let on = |n: &str| only == "all" || only.split(',').any(|x| x == n);
    if on("hash") { hashing(&o); }
    for sc in arg("--scen", "fan8,tree8,sys8,best8").split(',') {
        for &wn in &list(&arg("--workers", "16,128,512")) {
            for &d in &list(&arg("--depth", "64,512,2048")) {
                let p = Params { workers: wn, depth: d, sys: sc == "sys8", best: sc == "best8", tree: sc == "tree8", batch: arg("--batch", "16").parse().unwrap(),
                    total_blocks: arg("--blocks", "131072").parse().unwrap(), seed: 42 };
                let w = build(p, next_seq);
                assert!(w.queries[0].len() == d);
                let lh: Vec<LocalBlockHash> = w.queries[0].iter().map(|&x| LocalBlockHash(x)).collect();
                let sh = compute_seq_hash_for_block(&lh);
                assert_eq!(sh[1], next_seq(lh[0].0, lh[1].0), "chain hash differs from the crate's");
                let q: Vec<Vec<LocalBlockHash>> = w.queries.iter().map(|v| v.iter().map(|&x| LocalBlockHash(x)).collect()).collect();
                if on("radix") { radix(&w, &q, &o); }
                #[cfg(any(feature = "v12", feature = "v16"))]
                if on("crtc") { pool("ConcurrentRadixTreeCompressed", &w, kvr::ConcurrentRadixTreeCompressed::new, &q, &o); }
                for j in list(&arg("--jump", "64")) {
                    if on("pos") { pool(&format!("Positional(jump={j})"), &w, || PositionalIndexer::new(j), &q, &o); }
                    #[cfg(feature = "v16")]
                    if on("posbin") {
                        pool(&format!("Positional(binary,{j})"), &w, || PositionalIndexer::new_with_mode(j, kvr::indexer::positional::SearchMode::Binary), &q, &o);
                    }
                }
            }
        }
    }
    let _ = live();
}
