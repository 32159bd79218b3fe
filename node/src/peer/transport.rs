//! How bytes travel between nodes: over TCP, or, under a simulation's virtual time, through its memory.
//!
//! Everything above this, from TLS on, is the same in both: what is lost or changed on the way meets real code.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// What a transport gives in time.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A connection's bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for S {}

/// Where connections arrive.
pub trait Listener: Debug + Send {
    /// Its address.
    ///
    /// # Errors
    /// The system's.
    fn address(&self) -> io::Result<SocketAddr>;

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// The system's; the next one may arrive nonetheless.
    fn accept(&mut self) -> Awaited<'_, (Box<dyn Stream>, SocketAddr)>;
}

/// How a node reaches others, and is reached.
pub trait Transport: Debug + Send + Sync {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system's.
    fn listen(&self, address: SocketAddr) -> Awaited<'_, Box<dyn Listener>>;

    /// Connects to `host:port`.
    ///
    /// # Errors
    /// The system's.
    fn connect<'a>(&'a self, address: &'a str) -> Awaited<'a, Box<dyn Stream>>;
}

/// TCP without delays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn listen(&self, address: SocketAddr) -> Awaited<'_, Box<dyn Listener>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Listener>) })
    }

    fn connect<'a>(&'a self, address: &'a str) -> Awaited<'a, Box<dyn Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

impl Listener for TcpListener {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn accept(&mut self) -> Awaited<'_, (Box<dyn Stream>, SocketAddr)> {
        Box::pin(async move {
            let (stream, address) = Self::accept(self).await?;
            // A failed option costs latency, not correctness.
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream) as Box<dyn Stream>, address))
        })
    }
}

impl Listener for Box<dyn Listener> {
    fn address(&self) -> io::Result<SocketAddr> {
        (**self).address()
    }

    fn accept(&mut self) -> Awaited<'_, (Box<dyn Stream>, SocketAddr)> {
        (**self).accept()
    }
}
