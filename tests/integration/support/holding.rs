//! A way to a store on which certain requests are held up until the test lets
//! them go on: what happens meanwhile happens in that phase for sure.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::within_deadline;

/// An address that leads to a store's, without TLS.
pub struct Holding {
    pub address: SocketAddr,
    held: mpsc::UnboundedReceiver<String>,
    open: watch::Sender<bool>,
}

impl Holding {
    /// Holds up requests whose first line begins with `method` and contains `part`.
    pub async fn to(server: SocketAddr, method: &'static str, part: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (tell, held) = mpsc::unbounded_channel();
        let (open, is_open) = watch::channel(false);
        let is_meant = move |head: &[u8]| {
            let line = head.split(|byte| *byte == b'\r').next().map(String::from_utf8_lossy)?;
            (line.starts_with(method) && line.contains(part)).then(|| line.into_owned())
        };
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (tell, mut is_open) = (tell.clone(), is_open.clone());
                tokio::spawn(async move {
                    let callee = TcpStream::connect(server).await.expect("the store");
                    let (mut from_caller, mut to_caller) = caller.into_split();
                    let (mut from_callee, mut to_callee) = callee.into_split();
                    tokio::spawn(async move { tokio::io::copy(&mut from_callee, &mut to_caller).await });
                    let mut piece = vec![0; 1 << 16];
                    // A client begins each request with a piece of its own.
                    while let Ok(length) = from_caller.read(&mut piece).await
                        && length > 0
                    {
                        if let Some(line) = is_meant(&piece[..length]) {
                            let _ = tell.send(line);
                            if is_open.wait_for(|open| *open).await.is_err() {
                                return;
                            }
                        }
                        if to_callee.write_all(&piece[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, held, open }
    }

    /// Waits until a request is held up.
    pub async fn holds(&mut self) -> String {
        within_deadline("a request that is held up", self.held.recv()).await.expect("a request")
    }

    /// Lets all go on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
