//! What there is to be seen of the queues and mailboxes of a host, for whatever shows it: the dashboard, the web page, metrics,
//! a health check, a program of one's own.
//!
//! Everything is read from the files that queues consist of: nothing is written, no lock is taken and nobody is woken, so looking
//! costs those who are looked at a cache line now and then.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let (queues, post) = (dir.path().join("queues"), dir.path().join("post"));
//! let mut backend = laneway::mailbox::Post::open(&post).from("planner").mailbox("backend")?;
//! backend.send(b"run the tests")?;
//!
//! let mut picture = laneway_observe::Picture::new(queues, post);
//! picture.look();
//! let row = picture.rows().next().unwrap();
//! assert_eq!(row.name, "backend");
//! assert_eq!(row.figures.as_ref().unwrap().waiting, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod doctor;
mod figures;
mod history;
mod metrics;
mod picture;

pub use doctor::{Check, Doctor, Finding, Mended, Severity};
pub use figures::{Detail, Figures, Flow, Message};
pub use history::{Rates, Sample};
pub use metrics::{Format, Metrics};
pub use picture::{Key, Kind, Picture, Presence, Row};
