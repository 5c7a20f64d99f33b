//! A TCP proxy that makes a network bad: delay, trickle, standstill, half-open connections, cuts, one way or both.
//!
//! It knows nothing of what goes through it, so it stands in front of Redis and of Graph alike. [`Weather`] may change
//! at any moment, and open connections feel it at once. [`storm`] makes a changing weather from a seed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

use crate::graph::random::SimRng;

/// What happens to bytes that go one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They go through.
    #[default]
    Open,
    /// They go through after this long.
    Delay(Duration),
    /// So many go through at once, the next ones after a pause.
    Trickle {
        /// Bytes at once.
        bytes: usize,
        /// The pause.
        every: Duration,
    },
    /// They stand still until the weather changes.
    Hold,
    /// They are taken and never arrive: the connection is half-open, and nobody is told. What follows on the same
    /// connection is lost too, in any weather: no network leaves out bytes from the middle.
    Lose,
}

/// The state of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// From the client to the server.
    pub to_server: Flow,
    /// From the server to the client.
    pub to_client: Flow,
    /// New connections are closed at once.
    pub refuse: bool,
}

impl Weather {
    /// The same both ways.
    pub fn both(flow: Flow) -> Self {
        Self { to_server: flow, to_client: flow, refuse: false }
    }

    /// Requests arrive, answers do as `flow` says.
    pub fn answers(flow: Flow) -> Self {
        Self { to_client: flow, ..Self::default() }
    }

    /// Requests do as `flow` says.
    pub fn requests(flow: Flow) -> Self {
        Self { to_server: flow, ..Self::default() }
    }
}

/// One part of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gust {
    /// How long it lasts.
    pub lasts: Duration,
    /// What it does.
    pub weather: Weather,
    /// Every open connection is cut when it begins.
    pub cut: bool,
}

/// A storm of so many parts, each of 50 ms to 1 s; the same for the same seed.
pub fn storm(seed: u64, parts: usize) -> Vec<Gust> {
    let mut random = SimRng::new(seed);
    let mut below = move |n: u64| random.next_u64() % n;
    let mut gust = || {
        let mut flow = || match below(8) {
            0 => Flow::Delay(Duration::from_millis(20 + below(300))),
            1 => Flow::Trickle { bytes: 1 + below(64) as usize, every: Duration::from_millis(1 + below(20)) },
            2 => Flow::Hold,
            3 => Flow::Lose,
            _ => Flow::Open,
        };
        let weather = Weather { to_server: flow(), to_client: flow(), refuse: below(8) == 0 };
        // What was lost leaves connections that are good for nothing; some are noticed only by a cut.
        Gust { lasts: Duration::from_millis(50 + below(950)), weather, cut: below(3) == 0 }
    };
    (0..parts).map(|_| gust()).collect()
}

/// What went through a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Connections that were taken.
    pub connections: u64,
    /// Bytes that reached the server.
    pub to_server: u64,
    /// Bytes that reached the client.
    pub to_client: u64,
    /// Bytes that were taken and never arrived.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
    lost: AtomicU64,
    open: AtomicUsize,
}

/// A running proxy. Dropping it cuts everything.
#[derive(Debug)]
pub struct ChaosProxy {
    port: u16,
    target: Arc<Mutex<SocketAddr>>,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    counters: Arc<Counters>,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Link {
    weather: watch::Receiver<Weather>,
    cuts: watch::Receiver<u64>,
    counters: Arc<Counters>,
}

impl ChaosProxy {
    /// A proxy in front of a port of this machine, on a free port of its own; the weather is fair.
    ///
    /// # Errors
    /// The system's, if there is no port.
    pub async fn start(target: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let target = Arc::new(Mutex::new(SocketAddr::from((Ipv4Addr::LOCALHOST, target))));
        let (weather, _) = watch::channel(Weather::default());
        let (cuts, _) = watch::channel(0);
        let counters = Arc::new(Counters::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&target), {
            Link { weather: weather.subscribe(), cuts: cuts.subscribe(), counters: Arc::clone(&counters) }
        }));
        Ok(Self { port, target, weather, cuts, counters, accepting })
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather, for open connections too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Fair weather again.
    pub fn calm(&self) {
        self.set(Weather::default());
    }

    /// Cuts every open connection; both ends are told.
    pub fn cut(&self) {
        self.cuts.send_modify(|cut| *cut += 1);
    }

    /// From now on connections lead to another port, as an address does after a failover; open ones are cut.
    pub fn lead_to(&self, target: u16) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) =
            SocketAddr::from((Ipv4Addr::LOCALHOST, target));
        self.cut();
    }

    /// Plays a storm to its end; then the weather is fair, and every connection that saw it is cut.
    pub async fn play(&self, storm: &[Gust]) {
        for gust in storm {
            self.set(gust.weather);
            if gust.cut {
                self.cut();
            }
            pause(gust.lasts).await;
        }
        self.calm();
        self.cut();
    }

    /// What went through so far.
    pub fn passed(&self) -> Passed {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Passed {
            connections: read(&self.counters.connections),
            to_server: read(&self.counters.to_server),
            to_client: read(&self.counters.to_client),
            lost: read(&self.counters.lost),
        }
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.counters.open.load(Ordering::Relaxed)
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<SocketAddr>>, link: Link) {
    while let Ok((client, _)) = listener.accept().await {
        if link.weather.borrow().refuse {
            continue;
        }
        link.counters.connections.fetch_add(1, Ordering::Relaxed);
        let target = *target.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::spawn(connect(client, target, link.clone()));
    }
}

async fn connect(client: TcpStream, target: SocketAddr, mut link: Link) {
    // Cuts before this connection are none of its own.
    link.cuts.mark_unchanged();
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Neither end may wait for more bytes than it was sent.
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    link.counters.open.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cuts = link.cuts.clone();
    let both = async {
        tokio::join!(
            pump(from_client, to_server, link.clone(), Direction::ToServer),
            pump(from_server, to_client, link.clone(), Direction::ToClient)
        )
    };
    tokio::select! {
        _ = both => {}
        _ = cuts.changed() => {}
    }
    link.counters.open.fetch_sub(1, Ordering::Relaxed);
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    fn flow(self, weather: Weather) -> Flow {
        match self {
            Self::ToServer => weather.to_server,
            Self::ToClient => weather.to_client,
        }
    }

    fn count(self, counters: &Counters, bytes: usize) {
        let counter = match self {
            Self::ToServer => &counters.to_server,
            Self::ToClient => &counters.to_client,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: Link, direction: Direction) {
    let mut buffer = vec![0_u8; 16 * 1024];
    let mut lost = false;
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            // An end that nobody hears of is part of being half-open.
            if lost || direction.flow(*link.weather.borrow()) == Flow::Lose {
                std::future::pending::<()>().await;
            }
            let _the_other_end_may_be_gone = to.shutdown().await;
            return;
        }
        if lost {
            link.counters.lost.fetch_add(read as u64, Ordering::Relaxed);
            continue;
        }
        match deliver(&buffer[..read], &mut to, &mut link, direction).await {
            Ok(Delivered::All) => {}
            Ok(Delivered::Lost) => lost = true,
            Err(_) => return,
        }
    }
}

async fn deliver(
    mut bytes: &[u8],
    to: &mut OwnedWriteHalf,
    link: &mut Link,
    direction: Direction,
) -> std::io::Result<Delivered> {
    while !bytes.is_empty() {
        let flow = direction.flow(*link.weather.borrow_and_update());
        let now = match flow {
            Flow::Open => bytes.len(),
            Flow::Delay(delay) => {
                pause(delay).await;
                bytes.len()
            }
            Flow::Trickle { bytes: most, .. } => most.clamp(1, bytes.len()),
            Flow::Hold => {
                if link.weather.changed().await.is_err() {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                continue;
            }
            Flow::Lose => {
                link.counters.lost.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                return Ok(Delivered::Lost);
            }
        };
        to.write_all(&bytes[..now]).await?;
        direction.count(&link.counters, now);
        bytes = &bytes[now..];
        if let Flow::Trickle { every, .. } = flow {
            pause(every).await;
        }
    }
    Ok(Delivered::All)
}

enum Delivered {
    All,
    Lost,
}

#[expect(clippy::disallowed_methods, reason = "a bad network takes real time")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
