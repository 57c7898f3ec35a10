//! What the kernel offers: a Unix socket of packets, a pipe, a POSIX message queue. Whoever finds nothing sleeps.
#![expect(unsafe_code, reason = "descriptors of a message queue, and their limits")]

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, Tx, ring_bytes, slots};
use crate::rows::{Entry, in_place, wake};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt::SndBuf};
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

struct SeqPacket;
struct Pipe;
struct MessageQueue;

const HOW: &str = "sleeps in the kernel";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<SeqPacket>();
    entries.extend(one_to_one::<Pipe>());
    entries.extend(one_to_one::<MessageQueue>());
    entries.extend([wake::entry::<SeqPacket>(HOW), wake::entry::<Pipe>(HOW), wake::entry::<MessageQueue>(HOW)]);
    entries.extend(many_to_one::<SeqPacket, SeqPacket>("one socket for all", HOW));
    entries.extend(many_to_one::<Pipe, Pipe>("one pipe for all: short writes are atomic", HOW));
    entries.extend(many_to_one::<MessageQueue, MessageQueue>("", HOW));
    for name in ["SOCK_SEQPACKET", "pipe", "POSIX mq"] {
        entries.extend(in_place::cannot(name, Kind::Kernel, "copies in and out"));
    }
    entries
}

struct SocketEnd(File);

impl<const W: usize> Tx<W> for SocketEnd {
    fn send(&mut self, message: &[u64; W]) {
        let sent = self.0.write(bytemuck::bytes_of(message)).expect("the receiver lives");
        assert_eq!(sent, 8 * W, "a packet goes whole");
    }
}

impl<const W: usize> Rx<W> for SocketEnd {
    fn recv(&mut self, to: &mut [u64; W]) {
        let came = self.0.read(bytemuck::bytes_of_mut(to)).expect("the sender lives");
        assert_eq!(came, 8 * W, "a packet comes whole");
    }
}

impl<const W: usize> Peer<W> for SeqPacket {
    const NAME: &'static str = "SOCK_SEQPACKET";
    const KIND: Kind = Kind::Kernel;
    type Made = (OwnedFd, OwnedFd);
    type Tx = SocketEnd;
    type Rx = SocketEnd;

    fn make(_: &Place) -> Result<Self::Made> {
        let (tx, rx) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::empty())?;
        setsockopt(&tx, SndBuf, &ring_bytes::<W>())?;
        Ok((tx, rx))
    }

    fn tx(made: &mut Self::Made) -> Result<SocketEnd> {
        Ok(SocketEnd(File::from(made.0.try_clone()?)))
    }

    fn rx(made: &mut Self::Made) -> Result<SocketEnd> {
        Ok(SocketEnd(File::from(made.1.try_clone()?)))
    }
}

impl<const W: usize> ManySenders<W> for SeqPacket {}

struct PipeEnd(File);

impl<const W: usize> Tx<W> for PipeEnd {
    fn send(&mut self, message: &[u64; W]) {
        self.0.write_all(bytemuck::bytes_of(message)).expect("the receiver lives");
    }

    fn send_batch(&mut self, messages: &[[u64; W]]) {
        self.0.write_all(bytemuck::cast_slice(messages)).expect("the receiver lives");
    }
}

impl<const W: usize> Rx<W> for PipeEnd {
    fn recv(&mut self, to: &mut [u64; W]) {
        self.0.read_exact(bytemuck::bytes_of_mut(to)).expect("the sender lives");
    }

    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(to);
        let came = self.0.read(bytes).expect("the sender lives");
        // A read may end within a message.
        let whole = came.next_multiple_of(8 * W);
        self.0.read_exact(&mut bytes[came..whole]).expect("the sender lives");
        whole / (8 * W)
    }
}

impl<const W: usize> Peer<W> for Pipe {
    const NAME: &'static str = "pipe";
    const KIND: Kind = Kind::Kernel;
    const BATCH: &'static str = "one write; one read";
    type Made = (OwnedFd, OwnedFd);
    type Tx = PipeEnd;
    type Rx = PipeEnd;

    fn make(_: &Place) -> Result<Self::Made> {
        let (rx, tx) = nix::unistd::pipe()?;
        fcntl(&tx, FcntlArg::F_SETPIPE_SZ(ring_bytes::<W>().next_power_of_two() as i32))?;
        Ok((tx, rx))
    }

    fn tx(made: &mut Self::Made) -> Result<PipeEnd> {
        Ok(PipeEnd(File::from(made.0.try_clone()?)))
    }

    fn rx(made: &mut Self::Made) -> Result<PipeEnd> {
        Ok(PipeEnd(File::from(made.1.try_clone()?)))
    }
}

impl<const W: usize> ManySenders<W> for Pipe {}

/// Inherited over the fork; it goes with its last process, for its name is gone already.
struct QueueEnd(i32);

impl QueueEnd {
    /// A view of the descriptor that does not close it.
    #[inline(always)]
    fn descriptor(&self) -> std::mem::ManuallyDrop<MqdT> {
        use std::os::fd::FromRawFd;
        // SAFETY: the descriptor is open for as long as the process lives, and is not closed by this.
        std::mem::ManuallyDrop::new(unsafe { MqdT::from_raw_fd(self.0) })
    }
}

impl<const W: usize> Tx<W> for QueueEnd {
    fn send(&mut self, message: &[u64; W]) {
        mq_send(&self.descriptor(), bytemuck::bytes_of(message), 0).expect("there is a queue");
    }
}

impl<const W: usize> Rx<W> for QueueEnd {
    fn recv(&mut self, to: &mut [u64; W]) {
        let came = mq_receive(&self.descriptor(), bytemuck::bytes_of_mut(to), &mut 0).expect("there is a queue");
        assert_eq!(came, 8 * W, "a message comes whole");
    }
}

impl<const W: usize> Peer<W> for MessageQueue {
    const NAME: &'static str = "POSIX mq";
    const KIND: Kind = Kind::Kernel;
    type Made = i32;
    type Tx = QueueEnd;
    type Rx = QueueEnd;

    fn make(place: &Place) -> Result<i32> {
        allow_long_queues();
        let name = CString::new(format!("/laneway-compare-{}-{}", std::process::id(), name_of(place)))?;
        // Without privileges a queue holds ten messages.
        let mut last = None;
        for len in [slots::<W>(), 1024, 64, 10].into_iter().filter(|len| *len <= slots::<W>().max(10)) {
            let attributes = MqAttr::new(0, len as i64, 8 * W as i64, 0);
            let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR;
            match mq_open(name.as_c_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes)) {
                Ok(queue) => {
                    mq_unlink(name.as_c_str())?;
                    return Ok(std::mem::ManuallyDrop::new(queue).as_raw_fd());
                }
                Err(errno) => last = Some(errno),
            }
        }
        Err(last.unwrap_or(Errno::EINVAL)).with_context(|| format!("cannot make a message queue for {} B", 8 * W))
    }

    fn tx(made: &mut i32) -> Result<QueueEnd> {
        Ok(QueueEnd(*made))
    }

    fn rx(made: &mut i32) -> Result<QueueEnd> {
        Ok(QueueEnd(*made))
    }
}

impl<const W: usize> ManySenders<W> for MessageQueue {}

fn name_of(place: &Place) -> String {
    place.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// As long as this process may ask for.
fn allow_long_queues() {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is live. Whoever may not have it gets shorter queues.
    unsafe { libc::setrlimit(libc::RLIMIT_MSGQUEUE, &unlimited) };
}
