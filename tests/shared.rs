//! A queue that a group shares: who may do what, by the kernel's word. Each user is a thread with credentials of its own
//! (the system calls are per thread; the C library's wrappers would change all). Needs root, and says so when it is not.
//! Cannot see what another mount or user namespace would change.
#![expect(unsafe_code, reason = "credentials of one thread")]

mod support;

use laneway::{Cause, Fault, Queue, RecvError};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use support::scratch;

const GROUP: u32 = 54_321;
const RECEIVER: u32 = 54_001;
const SENDERS: [u32; 2] = [54_002, 54_003];
const STRANGER: u32 = 54_004;

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: only root can take the place of several users");
    }
    root
}

/// Runs `work` on a thread of its own as a user, in the group or not.
fn as_user<T: Send>(uid: u32, member: bool, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let gid = if member { GROUP } else { uid };
            // SAFETY: plain system calls on numbers; without capabilities there is no way back, and the thread ends.
            unsafe {
                assert_eq!(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()), 0);
                assert_eq!(libc::syscall(libc::SYS_setresgid, gid, gid, gid), 0);
                assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
            }
            work()
        });
        thread.join().unwrap()
    })
}

/// A directory that everybody may pass, and a queue in it that the receiver's user has made for the group.
fn shared_queue(dir: &Path) -> std::path::PathBuf {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    let path = dir.join("shared");
    as_user(RECEIVER, true, || {
        Queue::options().capacity(4096).max_lanes(8).shared_with_group(GROUP).create(&path).unwrap();
    });
    path
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn users_of_a_group_send_to_one_that_receives() {
    if !root() {
        return;
    }
    let dir = scratch();
    let path = shared_queue(dir.path());
    assert_eq!(mode(&path), 0o3770);
    let mut senders = SENDERS.map(|uid| as_user(uid, true, || Queue::open(&path).unwrap().sender().unwrap()));
    let receiver = as_user(RECEIVER, true, || Queue::open(&path).unwrap().receiver().unwrap());
    for (number, sender) in senders.iter_mut().enumerate() {
        assert_eq!(sender.lane(), number as u32);
        for i in 0..200u64 {
            sender.send_timeout(&i.to_ne_bytes(), Duration::from_secs(10)).unwrap();
            assert_eq!(receiver.recv().unwrap().read_pod::<u64>().unwrap(), i);
        }
        let lane = path.join(format!("lane-{number:03}"));
        assert_eq!((fs::metadata(&lane).unwrap().uid(), mode(&lane)), (SENDERS[number], 0o640));
        assert_eq!(fs::metadata(&lane).unwrap().gid(), GROUP);
    }
    // Anyone in the group sees who is there, and sees it end.
    let look = || {
        as_user(SENDERS[0], true, || {
            let mut observer = Queue::open(&path).unwrap().observe().unwrap();
            let lanes: Vec<bool> = observer.lanes().unwrap().iter().map(|lane| lane.sender_alive).collect();
            (observer.receiver_alive().unwrap(), lanes)
        })
    };
    assert_eq!(look(), (true, vec![true, true]));
    let [first, _second] = senders;
    drop((receiver, first));
    assert_eq!(look(), (false, vec![false, true]));
    // A lane goes on to the same user only.
    assert_eq!(as_user(SENDERS[1], true, || Queue::open(&path).unwrap().sender().unwrap().lane()), 2);
    assert_eq!(as_user(SENDERS[0], true, || Queue::open(&path).unwrap().sender().unwrap().lane()), 0);
}

#[test]
fn nobody_writes_or_removes_what_is_another_s() {
    if !root() {
        return;
    }
    let dir = scratch();
    let path = shared_queue(dir.path());
    let _sender = as_user(SENDERS[0], true, || Queue::open(&path).unwrap().sender().unwrap());
    as_user(SENDERS[1], true, || {
        for file in ["queue", "receiver", "lane-000", "lane-000.lock", "receiver.lock"] {
            assert!(File::options().write(true).open(path.join(file)).is_err(), "{file} can be written");
            assert!(fs::remove_file(path.join(file)).is_err(), "{file} can be removed");
        }
        assert!(File::options().write(true).open(path.join("bell")).is_ok());
        let refused = Queue::open(&path).unwrap().receiver().unwrap_err();
        assert!(refused.to_string().contains("receiver.lock"), "{refused}");
        assert!(Queue::open(&path).unwrap().destroy().is_err());
    });
    let refused = as_user(STRANGER, false, || Queue::open(&path).unwrap_err());
    assert!(matches!(refused.cause(), Cause::Io { .. }), "{refused}");
    // Its owner removes it whole, with the files of the others.
    as_user(RECEIVER, true, || Queue::open(&path).unwrap().destroy().unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_queue_that_cannot_be_looked_at_for_a_moment_was_not_removed() {
    if !root() {
        return;
    }
    let dir = scratch();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = dir.path().join("queue");
    as_user(RECEIVER, true, || {
        let options = Queue::options().capacity(4096).overflow_limit(0);
        let (queue, shut) = (options.create(&path).unwrap(), |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        });
        let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        shut(0);
        let unknown = receiver.drain().unwrap_err();
        assert!(matches!(unknown.cause(), Cause::Io { .. }), "{unknown}");
        assert_eq!(receiver.recv_timeout(Duration::from_millis(250)).unwrap_err(), RecvError::Timeout);
        while sender.try_send(&[0; 500]).is_ok() {}
        let full = sender.send_timeout(&[0; 500], Duration::from_millis(250)).unwrap_err();
        assert_eq!(full, laneway::SendError::Timeout);
        shut(0o700);
        assert!(receiver.drain().unwrap().count() > 5);
        sender.send(b"still here").unwrap();
        assert_eq!(receiver.recv().unwrap().to_vec(), b"still here");
    });
}

#[test]
fn a_hostile_sender_harms_its_own_lane() {
    if !root() {
        return;
    }
    let dir = scratch();
    let path = shared_queue(dir.path());
    let mut honest = as_user(SENDERS[0], true, || Queue::open(&path).unwrap().sender().unwrap());
    let receiver = as_user(RECEIVER, true, || Queue::open(&path).unwrap().receiver().unwrap());
    let mut hostile = as_user(SENDERS[1], true, || Queue::open(&path).unwrap().sender().unwrap());
    hostile.send(b"so far so good").unwrap();
    assert_eq!(receiver.recv().unwrap().to_vec(), b"so far so good");
    as_user(SENDERS[1], true, || {
        let lane = File::options().write(true).open(path.join("lane-001")).unwrap();
        lane.set_len(0).unwrap();
        // Bells that lie, and a lane that is none.
        let bell = File::options().write(true).open(path.join("bell")).unwrap();
        bell.write_all_at(&[0xff; 4096], 0).unwrap();
        fs::write(path.join("lane-005"), "nothing").unwrap();
    });
    honest.send(b"still here").unwrap();
    let (mut mail, mut faults) = (Vec::new(), Vec::new());
    while mail.is_empty() || faults.len() < 2 {
        match receiver.recv_timeout(Duration::from_secs(10)) {
            Ok(message) => mail.push(message.to_vec()),
            Err(RecvError::Corrupt(damage)) => faults.push((damage.lane, damage.fault)),
            Err(error) => panic!("{error}; so far {mail:?} and {faults:?}"),
        }
    }
    faults.sort_by_key(|(lane, _)| *lane);
    assert_eq!(mail, [b"still here"]);
    assert_eq!(faults, [(1, Fault::Truncated), (5, Fault::Header)]);
}
