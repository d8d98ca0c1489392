//! A way to a server that can be shut: whoever is connected is cut off, and who
//! comes is turned away, as when a network is gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::eventually;

/// An address that leads to another one while it is open.
pub struct Gateway {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    turned_away: Arc<AtomicUsize>,
}

impl Gateway {
    /// An open gateway.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (open, is_open) = watch::channel(true);
        let turned_away = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&turned_away);
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                if !*is_open.borrow_and_update() {
                    counter.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut callee) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut caller, &mut callee) => {}
                        // Its only change is to be shut, or gone.
                        _ = is_open.changed() => {}
                    }
                });
            }
        });
        Self { address, open, turned_away }
    }

    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until somebody was turned away from now on.
    pub async fn turns_away(&self) {
        let before = self.turned_away.load(Ordering::Relaxed);
        eventually("a caller at the shut gateway", || async {
            (self.turned_away.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
    }
}
