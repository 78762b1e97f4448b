//! One of the peer's indexes with the thread that applies its events, as `ThreadPoolIndexer` has with one thread: the
//! index keeps part of its state (engine hash → place) on that thread's stack, so nobody else can apply an event.

use dynamo_kv_router::indexer::WorkerTask;
use dynamo_kv_router::{RouterEvent, SyncIndexer};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Events that [`Lane::feed`] lets wait.
const FED: usize = 256;

pub struct Lane<B: SyncIndexer> {
    pub index: Arc<B>,
    fed: usize,
    tasks: Option<flume::Sender<WorkerTask>>,
    thread: Option<JoinHandle<()>>,
    /// Receivers of flushes under way: one that is dropped would never be woken.
    flushes: Vec<oneshot::Receiver<()>>,
}

impl<B: SyncIndexer> Lane<B> {
    pub fn new(index: B) -> Self {
        let index = Arc::new(index);
        let (tasks, receiver) = flume::unbounded();
        let worker = index.clone();
        let thread =
            std::thread::spawn(move || worker.worker(receiver, None).expect("the peer's thread failed"));
        Self { index, fed: 0, tasks: Some(tasks), thread: Some(thread), flushes: Vec::new() }
    }

    pub fn task(&self, task: WorkerTask) {
        let tasks = self.tasks.as_ref().expect("open until it is dropped");
        assert!(tasks.send(task).is_ok(), "the peer's thread has ended");
    }

    pub fn apply(&self, event: RouterEvent) {
        self.task(WorkerTask::Event(event));
    }

    /// Applies an event and waits now and then, so that the queue stays small: it is no part of the index's memory.
    pub fn feed(&mut self, event: RouterEvent) {
        self.apply(event);
        self.fed += 1;
        if self.fed.is_multiple_of(FED) {
            self.flush();
        }
    }

    /// Waits until all that was sent is applied.
    pub fn flush(&mut self) {
        let (done, wait) = mpsc::channel();
        // Nobody waits any more only if this thread panicked.
        self.then(move || {
            let _ = done.send(());
        });
        wait.recv().expect("the peer's thread has ended");
        self.flushes.clear();
    }

    /// Runs `action` on the peer's thread, after what was sent before and before what is sent later. There is no task
    /// for that; but who answers a flush wakes the one who waits for it, and a waker is any code.
    pub fn then(&mut self, action: impl FnOnce() + Send + 'static) {
        let (answer, mut flush) = oneshot::channel();
        let action: Box<dyn FnOnce() + Send> = Box::new(action);
        let waker = Waker::from(Arc::new(Action(Mutex::new(Some(action)))));
        let pending = Pin::new(&mut flush).poll(&mut Context::from_waker(&waker));
        assert!(matches!(pending, Poll::Pending), "not sent yet");
        self.flushes.push(flush);
        self.task(WorkerTask::Flush(answer));
    }
}

impl<B: SyncIndexer> Drop for Lane<B> {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the peer's thread panicked");
        }
    }
}

struct Action(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Action {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().expect("nobody panics with it").take();
        if let Some(action) = action {
            action();
        }
    }
}
