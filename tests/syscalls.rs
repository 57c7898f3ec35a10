//! No system call on a send or a receive while both sides are awake. A process enters the strict mode of seccomp, in
//! which any call but `read`, `write` and `exit` kills it, and moves messages; that it comes to its end is the proof.
//! Other processes that do sleep, or ring a sleeper, must die of it, so that the proof can fail. This sees system
//! calls, not what they would have cost, and a clock that the kernel does not offer without a call would show here.
#![expect(unsafe_code, reason = "fork, seccomp and exit")]

mod support;

use laneway::{OnFull, Receiver, Sender, TryRecvError, TrySendError, Wait};
use std::time::Duration;
use support::{Role, scratch, small_queue};

const MESSAGES: u64 = 100_000;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exited,
    Killed,
    /// This host does not offer strict seccomp.
    Refused,
}

/// Runs `warm_up`, and then `confined` of what that made in strict mode, in a process of its own.
///
/// The caller is a process in which nothing else happens: one that is forked must not find a lock that a thread which
/// it does not have has taken.
fn confined<T>(warm_up: impl FnOnce() -> T, confined: impl FnOnce(&mut T)) -> End {
    const REFUSED: i32 = 77;
    // SAFETY: the only other thread of this process waits for the end of this one, and holds nothing.
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
        return End::Killed;
    }
    match libc::WEXITSTATUS(status) {
        REFUSED => End::Refused,
        code => {
            assert_eq!(code, 0);
            End::Exited
        }
    }
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    let queue = || part.open();
    let end = match part.name.as_str() {
        "pair" => confined(|| laneway::pair(1 << 16).unwrap(), |(sender, receiver)| exchange(sender, receiver)),
        "queue" => {
            let warm_up = || {
                // With an idle lane beside the busy one: looking at it is no system call either.
                let (idle, sender) = (queue().sender().unwrap(), queue().sender().unwrap());
                let receiver = queue().receiver().unwrap();
                assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
                (idle, sender, receiver)
            };
            confined(warm_up, |(_, sender, receiver)| exchange(sender, receiver))
        }
        "full" => confined(
            || {
                let (mut sender, receiver) = laneway::pair(4096).unwrap();
                sender.set_on_full(OnFull::Fail);
                (sender, receiver)
            },
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
        ),
        "sleep" => {
            let warm_up = || {
                let (sender, receiver) = laneway::pair(4096).unwrap();
                receiver.set_wait(Wait::Park);
                (sender, receiver)
            };
            confined(warm_up, |(_sender, receiver)| {
                must(receiver.recv_timeout(Duration::from_millis(1)).is_err());
            })
        }
        "wait for room" => {
            let warm_up = || {
                let (mut sender, receiver) = laneway::pair(4096).unwrap();
                sender.set_wait(Wait::Park);
                sender.set_on_full(OnFull::Block);
                while sender.try_send(&[0; 500]).is_ok() {}
                (sender, receiver)
            };
            confined(warm_up, |(sender, _receiver)| {
                must(sender.send_timeout(&[0; 500], Duration::from_millis(1)).is_err());
            })
        }
        "wake" => {
            // A receiver that is asleep, as far as a sender can see.
            let sleeps = laneway::layout::receiver::SLEEPS;
            support::poke(part.queue.join("receiver"), sleeps, &1u32.to_ne_bytes());
            confined(|| queue().sender().unwrap(), |sender| must(sender.send(b"wake up").is_ok()))
        }
        other => panic!("{other}"),
    };
    part.say(&format!("{end:?}"));
}

/// Lets a child play a part, which must end like this.
#[track_caller]
fn ends(part: &str, end: End) {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let said = Role::new(part, queue.path()).start().hear();
    if said == Some(format!("{:?}", End::Refused)) {
        eprintln!("skipped: this host does not offer strict seccomp");
    } else {
        assert_eq!(said, Some(format!("{end:?}")));
    }
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
    ends("pair", End::Exited);
}

#[test]
fn a_queue_moves_messages_without_a_system_call() {
    ends("queue", End::Exited);
}

#[test]
fn a_full_lane_is_reported_without_a_system_call() {
    ends("full", End::Exited);
}

#[test]
fn a_receiver_that_sleeps_does_make_a_system_call() {
    ends("sleep", End::Killed);
}

#[test]
fn a_sender_that_waits_for_room_does_make_a_system_call() {
    ends("wait for room", End::Killed);
}

#[test]
fn a_sender_that_wakes_a_sleeper_does_make_a_system_call() {
    ends("wake", End::Killed);
}
