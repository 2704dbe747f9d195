//! The life of a helping process hangs on its standard input: a parent that ends, however it ends, closes it.

use std::io::Read;

use tokio::sync::oneshot;

/// Returns when standard input is closed. What comes in before is ignored.
///
/// It is read on a thread that nobody waits for: a runtime could not end while one of its own threads reads.
pub(crate) async fn closed() {
    let (tell, told) = oneshot::channel();
    let reading = std::thread::Builder::new().name("lifeline".into()).spawn(move || {
        let (mut input, mut ignored) = (std::io::stdin(), [0; 512]);
        while input.read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        let _ = tell.send(());
    });
    match reading {
        Ok(_) => drop(told.await),
        Err(error) => tracing::warn!(%error, "the parent's end will not be noticed"),
    }
}
