//! Listeners of the tests: to be connected to, or to see that nobody connects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testbed::KeptPort;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinHandle;

/// So many free ports of this machine, and their addresses.
pub fn ports(count: usize) -> (Vec<std::net::TcpListener>, Vec<String>) {
    let sockets: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let addresses = sockets.iter().map(|s| s.local_addr().expect("an address").to_string()).collect();
    (sockets, addresses)
}

pub async fn listen(at: impl ToSocketAddrs + std::fmt::Debug) -> TcpListener {
    TcpListener::bind(&at).await.unwrap_or_else(|e| panic!("{at:?} must be a free address of this machine: {e}"))
}

pub fn address(listener: &TcpListener) -> String {
    listener.local_addr().expect("a listener has an address").to_string()
}

/// Counts those who connect, and answers nobody.
pub struct Trap {
    pub address: String,
    came: Arc<AtomicUsize>,
}

impl Trap {
    /// On a free port of this address.
    pub async fn at(host: &str) -> Self {
        let listener = listen((host, 0)).await;
        let trap = Self { address: address(&listener), came: Arc::default() };
        let came = Arc::clone(&trap.came);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                came.fetch_add(1, Ordering::SeqCst);
            }
        });
        trap
    }

    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().expect("an address has a port")
    }
}

/// Leads whoever connects to another address, and counts them. While it is shut it takes no new connection; those that are
/// there go on.
pub struct Relay {
    pub address: String,
    to: String,
    came: Arc<AtomicUsize>,
    open: Option<JoinHandle<()>>,
    _port: KeptPort,
}

impl Relay {
    pub async fn start(to: &str) -> Self {
        Self::at("127.0.0.1", to).await
    }

    /// On a free port of this address.
    pub async fn at(host: &str, to: &str) -> Self {
        let port = KeptPort::at(host).expect("a port");
        let mut relay = Self { address: port.address.clone(), to: to.to_owned(), came: Arc::default(), open: None, _port: port };
        relay.open().await;
        relay
    }

    pub async fn open(&mut self) {
        let listener = listen(self.address.clone()).await;
        let (to, came) = (self.to.clone(), Arc::clone(&self.came));
        self.open = Some(tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                came.fetch_add(1, Ordering::SeqCst);
                let to = to.clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(to).await else { return };
                    // Until either side hangs up.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }));
    }

    /// Where HTTP is spoken.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn shut(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.abort();
        let _ = open.await;
    }

    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}
