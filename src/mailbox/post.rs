//! The post office: a directory of mailboxes.

use super::handle::Mailbox;
use super::inbox::Inbox;
use super::settings::Settings;
use super::watch::Watch;
use crate::error::{Cause, Error};
use crate::queue::{Options, Queue, check_name};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A directory in which each mailbox has its own. Nothing runs there: whoever has the directory has the post.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use laneway::mailbox::{Post, State};
///
/// let post = Post::open(dir.path().join("post"));
/// // Nobody has to be there: the mailbox comes with the first who asks for it, and keeps what is sent.
/// let mut backend = post.mailbox("backend")?;
/// let ticket = backend.send(b"run the tests")?;
/// assert_eq!(backend.status(&ticket)?.state, State::Pending);
///
/// let inbox = post.serve("backend")?;
/// let delivery = inbox.recv()?;
/// assert_eq!(delivery.body(), b"run the tests");
/// delivery.ack();
/// assert_eq!(backend.status(&ticket)?.state, State::Acked);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Post {
    root: PathBuf,
    settings: Settings,
    options: Options,
    from: String,
}

/// The queue of what is sent to a mailbox; the others in its directory are for whoever serves it.
const MAIL: &str = "mail";
pub(super) const CONTROL: &str = "control";
pub(super) const RETRY: &str = "retry";
/// What takes the place of the log, when that was damaged.
pub(super) const RENEWED: &str = "retry-new";
pub(super) const DEAD: &str = "dead";
/// All that there may be in a mailbox's directory.
pub(crate) const QUEUES: [&str; 5] = [MAIL, CONTROL, RETRY, RENEWED, DEAD];
/// How the names of mailboxes begin that are being removed.
const HIDDEN: &str = ".laneway-mail-";

impl Post {
    /// The post office in this directory, which need not exist yet. Takes no system call.
    pub fn open(root: impl AsRef<Path>) -> Post {
        Post {
            root: root.as_ref().to_owned(),
            settings: Settings::default(),
            options: Options::default().capacity(64 << 10),
            from: String::new(),
        }
    }

    /// The limits of mailboxes that are created through this handle. Existing ones keep theirs.
    pub fn settings(mut self, settings: Settings) -> Post {
        self.settings = settings;
        self
    }

    /// The options of the queues of mailboxes that are created through this handle: how many senders, how many bytes each.
    pub fn queue_options(mut self, options: Options) -> Post {
        self.options = options;
        self
    }

    /// Who sends through this handle, at most 200 bytes: what [`Delivery::from`](super::Delivery::from) gives. Nobody checks it;
    /// what the kernel vouches for is [`Delivery::uid`](super::Delivery::uid).
    pub fn from(mut self, name: impl Into<String>) -> Post {
        self.from = name.into();
        self
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mailbox of this name, for sending to it and asking about it; created if there is none. Nobody need serve it, now or
    /// ever. Takes some system calls; the first message takes some more.
    pub fn mailbox(&self, name: &str) -> Result<Mailbox, Error> {
        let queue = self.mail(name)?;
        Mailbox::new(name, self.path(name), queue, &self.from)
    }

    /// The mailbox of this name if there is one, and [`Cause::NotFound`] otherwise: for asking about it without making it. Takes some
    /// system calls.
    pub fn find(&self, name: &str) -> Result<Mailbox, Error> {
        check_name(name)?;
        let queue = self.open_mail(name)?;
        Mailbox::new(name, self.path(name), queue, &self.from)
    }

    /// Serves the mailbox of this name: what is sent to it is handed out here. Created if there is none.
    ///
    /// One serves at a time: refused with [`Cause::AlreadyReceiving`] while another one lives; granted at once when the kernel
    /// says that the last one is gone. What that one had taken and not acked is handed out again.
    pub fn serve(&self, name: &str) -> Result<Inbox, Error> {
        let queue = self.mail(name)?;
        Inbox::attach(self.path(name), queue)
    }

    /// The names of the mailboxes, sorted. A root that does not exist has none.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            answer => answer.map_err(|error| self.failed("list", error))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.failed("list", error))?.file_name();
            // A name that is no text was not given by us.
            let Some(name) = name.to_str() else { continue };
            if check_name(name).is_ok() && self.exists(name) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is such a mailbox.
    pub fn exists(&self, name: &str) -> bool {
        Queue::exists(self.path(name).join(MAIL))
    }

    /// Whether somebody serves the mailbox now, by the kernel's word. False when there is none of this name.
    pub fn is_awake(&self, name: &str) -> Result<bool, Error> {
        check_name(name)?;
        match self.open_mail(name) {
            Ok(queue) => queue.observe()?.receiver_alive(),
            Err(error) if matches!(error.cause(), Cause::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a mailbox and everything in it, whole: whoever looks for it afterwards finds none.
    ///
    /// A [`Mailbox`] that somebody has open stays with what was removed, and so does what is sent through it from then on.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let failed = |cause| Error::new("remove", &self.path(name), cause);
        let io = |source| failed(Cause::Io { file: String::new(), source });
        if !self.exists(name) {
            return Err(failed(Cause::NotFound));
        }
        let id = crate::sys::host::random_id().map_err(io)?;
        let hidden = self.root.join(format!("{HIDDEN}{:032x}", u128::from_ne_bytes(id)));
        fs::rename(self.path(name), &hidden).map_err(io)?;
        dismantle(&hidden).inspect_err(|_| {
            // Refused before anything was gone: then it keeps its name, too.
            if Queue::exists(hidden.join(MAIL)) {
                let _ = fs::rename(&hidden, self.path(name));
            }
        })
    }

    /// Removes what is left of processes that were killed while they removed a mailbox. Returns how many there were.
    pub fn sweep(&self) -> Result<usize, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            answer => answer.map_err(|error| self.failed("sweep", error))?,
        };
        let (mut swept, mut failed) = (0, None);
        for entry in entries {
            let entry = entry.map_err(|error| self.failed("sweep", error))?;
            // A link would lead to a mailbox that somebody uses.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && entry.file_name().to_str().is_some_and(|name| name.starts_with(HIDDEN)) {
                // One that cannot be removed keeps none of the others.
                match dismantle(&entry.path()) {
                    Ok(()) => swept += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(swept), Err)
    }

    /// Tells of mailboxes that come and go, and of those who serve them. See [`Watch`].
    pub fn watch(&self) -> Result<Watch, Error> {
        Watch::new(self.clone()).map_err(|error| self.failed("watch", error))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn failed(&self, verb: &'static str, source: std::io::Error) -> Error {
        Error::new(verb, &self.root, Cause::Io { file: String::new(), source })
    }

    pub(super) fn open_mail(&self, name: &str) -> Result<Queue, Error> {
        let queue = Queue::open(self.path(name).join(MAIL))?;
        match queue.ledger_entries() {
            0 => Err(Error::new("open", &self.path(name), Cause::NotFound)),
            _ => Ok(queue),
        }
    }

    /// The queue of what is sent to a mailbox, which makes it one.
    fn mail(&self, name: &str) -> Result<Queue, Error> {
        check_name(name)?;
        let path = self.path(name);
        if Queue::exists(&path) {
            let what = "it is a queue; a mailbox of this name would be inside it".to_owned();
            return Err(Error::new("open the mailbox", &path, Cause::Untrusted { file: String::new(), what }));
        }
        let note = self.settings.write().map_err(|cause| Error::new("create the mailbox", &path, cause))?;
        self.options.clone().ledger(self.settings.outcomes, note).open_or_create(path.join(MAIL))
    }
}

/// Removes a mailbox's directory, which has no name any more by which it is found.
fn dismantle(hidden: &Path) -> Result<(), Error> {
    for queue in QUEUES {
        match Queue::remove(hidden.join(queue)) {
            Err(error) if !matches!(error.cause(), Cause::NotFound) => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(hidden) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::new("remove", hidden, Cause::Io { file: String::new(), source: error }))
        }
        _ => Ok(()),
    }
}

/// A queue of a mailbox's besides that of its mail.
pub(super) fn side_queue(mailbox: &Path, name: &str, mail: &Queue, options: Options) -> Result<Queue, Error> {
    // Nothing is left behind in the place of a mailbox that was removed long ago.
    ask_there(mailbox, mail)?;
    let queue = options.open_or_create(mailbox.join(name))?;
    // Somebody may have removed the mailbox meanwhile, and then this is in one that nobody knows, or in the next of the name.
    ask_there(mailbox, mail)?;
    Ok(queue)
}

/// Whether the mailbox is there, and no other of its name.
pub(super) fn ask_there(mailbox: &Path, mail: &Queue) -> Result<(), Error> {
    match Queue::open(mailbox.join(MAIL)) {
        Ok(now) if now.id() == mail.id() => Ok(()),
        _ => Err(mail.error("open", Cause::Detached)),
    }
}

/// As [`side_queue`], for whole messages: room for one that is as long as any, and for many.
pub(super) fn log_queue(mailbox: &Path, name: &str, mail: &Queue, max_lanes: u32) -> Result<Queue, Error> {
    let largest = u64::from(mail.max_message());
    let limit = (64 << 20_u64).max(2 * largest + (1 << 20)).next_multiple_of(4096).min(1 << 30);
    let options = Options::default().capacity(64 << 10).overflow_limit(limit).max_lanes(max_lanes);
    side_queue(mailbox, name, mail, options)
}
