//! No system call on a send or a receive while both sides are awake. A process enters the strict mode of seccomp, in
//! which any call but `read`, `write` and `exit` kills it, and moves messages; that it comes to its end is the proof.
//! Other processes that do sleep, or ring a sleeper, must die of it, so that the proof can fail. This sees system
//! calls, not what they would have cost, and a clock that the kernel does not offer without a call would show here.
#![expect(unsafe_code, reason = "fork, seccomp and exit")]

mod support;

use laneway::{Receiver, Sender, TryRecvError, TrySendError, Wait};
use std::sync::OnceLock;
use std::time::Duration;
use support::{scratch, small_queue};

const MESSAGES: u64 = 100_000;

/// How a process ended: by itself, or by a signal. None when this host does not offer strict seccomp.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exited,
    Killed,
}

/// Runs `warm_up`, and then `confined` of what that made in strict mode, in a process of its own.
fn confined<T>(warm_up: impl FnOnce() -> T, confined: impl FnOnce(&mut T)) -> Option<End> {
    const REFUSED: i32 = 77;
    // The lock of the test harness's own output, and the allocator's, are taken by nobody who is gone: the child only
    // makes handles, and ends without unwinding.
    // SAFETY: the child uses nothing that another thread of the parent may have left in the middle of a change but the
    // allocator, which the C library makes fit for use after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut made = warm_up();
        // SAFETY: prctl takes numbers; from here on this process may only read, write and exit.
        if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) } != 0 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(REFUSED) };
        }
        confined(&mut made);
        // SAFETY: the plain call, because the C library's `_exit` ends all threads by another one.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: waitpid writes to `status`.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFSIGNALED(status) {
        assert_eq!(libc::WTERMSIG(status), libc::SIGKILL, "it did not die of a system call");
        return Some(End::Killed);
    }
    match libc::WEXITSTATUS(status) {
        REFUSED => None,
        code => {
            assert_eq!(code, 0);
            Some(End::Exited)
        }
    }
}

/// Whether this host offers strict seccomp; says so once if it does not.
fn offered() -> bool {
    static OFFERED: OnceLock<bool> = OnceLock::new();
    *OFFERED.get_or_init(|| {
        let offered = confined(|| (), |()| ()).is_some();
        if !offered {
            eprintln!("skipped: this host does not offer strict seccomp");
        }
        offered
    })
}

/// Panicking would be a system call, and say nothing of where: a process that finds something wrong stops like this.
fn must(right: bool) {
    if !right {
        // SAFETY: as above; the parent sees the code.
        unsafe { libc::syscall(libc::SYS_exit, 1) };
    }
}

/// Both ends in one process, over lengths that take every way of copying and wrap all the time.
fn exchange(sender: &mut Sender, receiver: &Receiver) {
    let bytes = [0x5a; 2000];
    let mut copy = [0; 2000];
    for i in 0..MESSAGES {
        let len = (i * 37 % 600) as usize;
        let mut sent = match i % 3 {
            0 => sender.try_send(&bytes[..len]).is_ok(),
            1 => sender.send(&bytes[..len]).is_ok(),
            _ => sender.send_batch([&bytes[..len]]).is_ok(),
        };
        if !sent && i % 3 == 0 {
            // The pad before the end of the ring; the receiver passes it when it looks.
            must(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
            sent = sender.try_send(&bytes[..len]).is_ok();
        }
        must(sent);
        let message = if i % 2 == 0 { receiver.try_recv().ok() } else { receiver.recv().ok() };
        let Some(message) = message else { return must(false) };
        message.copy_to(&mut copy);
        must(message.len() == len && copy[..len] == bytes[..len]);
        drop(message);
        must(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
    }
}

#[test]
fn a_pair_moves_messages_without_a_system_call() {
    if offered() {
        let end = confined(|| laneway::pair(1 << 16).unwrap(), |(sender, receiver)| exchange(sender, receiver));
        assert_eq!(end, Some(End::Exited));
    }
}

#[test]
fn a_queue_moves_messages_without_a_system_call() {
    if !offered() {
        return;
    }
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let warm_up = || {
        // With lanes beside the busy one, and one more that comes and goes: looking at them is no system call either.
        let (idle, sender) = (queue.sender().unwrap(), queue.sender().unwrap());
        let receiver = queue.receiver().unwrap();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        (idle, sender, receiver)
    };
    assert_eq!(confined(warm_up, |(_, sender, receiver)| exchange(sender, receiver)), Some(End::Exited));
}

#[test]
fn a_full_lane_is_reported_without_a_system_call() {
    if !offered() {
        return;
    }
    let end = confined(
        || laneway::pair(4096).unwrap(),
        |(sender, receiver)| {
            for _ in 0..200 {
                let mut sent = 0;
                while sender.try_send(&[1; 100]).is_ok() {
                    sent += 1;
                }
                must(sent > 30 && sender.try_send(&[1; 100]) == Err(TrySendError::Full));
                must(receiver.try_iter().count() == sent);
            }
        },
    );
    assert_eq!(end, Some(End::Exited));
}

#[test]
fn a_receiver_that_sleeps_does_make_a_system_call() {
    if offered() {
        let warm_up = || {
            let (sender, receiver) = laneway::pair(4096).unwrap();
            receiver.set_wait(Wait::Park);
            (sender, receiver)
        };
        let end = confined(warm_up, |(_sender, receiver)| {
            must(receiver.recv_timeout(Duration::from_millis(1)).is_err());
        });
        assert_eq!(end, Some(End::Killed));
    }
}

#[test]
fn a_sender_that_waits_for_room_does_make_a_system_call() {
    if offered() {
        let warm_up = || {
            let (mut sender, receiver) = laneway::pair(4096).unwrap();
            sender.set_wait(Wait::Park);
            while sender.try_send(&[0; 500]).is_ok() {}
            (sender, receiver)
        };
        let end = confined(warm_up, |(sender, _receiver)| {
            must(sender.send_timeout(&[0; 500], Duration::from_millis(1)).is_err());
        });
        assert_eq!(end, Some(End::Killed));
    }
}

#[test]
fn a_sender_that_wakes_a_sleeper_does_make_a_system_call() {
    if !offered() {
        return;
    }
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    // A receiver that is asleep, as far as a sender can see.
    let sleeps = laneway::layout::receiver::SLEEPS;
    support::poke(queue.path().join("receiver"), sleeps, &1u32.to_ne_bytes());
    let end = confined(|| queue.sender().unwrap(), |sender| must(sender.send(b"wake up").is_ok()));
    assert_eq!(end, Some(End::Killed));
}
