//! iceoryx2: publish and subscribe, with loans; its event service wakes who sleeps.
#![expect(unsafe_code, reason = "payloads that are written in place")]

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, slots};
use crate::rows::{Entry, fan_in, in_place, round_trip, wake};
use anyhow::{Context, Result};
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use std::hint::spin_loop;
use std::mem::MaybeUninit;

/// Publish and subscribe alone, spinning; or with a notification for each message and a listener that sleeps.
struct Iceoryx2<const EVENTS: bool>;

const EVENTS: &str = "event service: a notification for each message";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Iceoryx2<false>>();
    entries.push(round_trip::entry::<1, Iceoryx2<true>>().how(EVENTS));
    entries.push(round_trip::entry::<6, Iceoryx2<true>>().how(EVENTS));
    entries.push(in_place::entry::<128, Iceoryx2<false>>("loan_uninit; sample"));
    entries.push(in_place::entry::<8192, Iceoryx2<false>>("loan_uninit; sample"));
    entries.push(wake::entry::<Iceoryx2<true>>(EVENTS));
    entries.extend(many_to_one::<Iceoryx2<false>, Iceoryx2<true>>("a publisher each", EVENTS));
    entries.push(fan_in::paced::<Iceoryx2<false>>("spins"));
    entries
}

struct IceTx<const W: usize> {
    publisher: Publisher<ipc::Service, [u64; W], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    _node: Node<ipc::Service>,
}

impl<const W: usize> IceTx<W> {
    #[inline(always)]
    fn publish(&mut self, fill: impl FnOnce(&mut MaybeUninit<[u64; W]>)) {
        let mut sample = self.publisher.loan_uninit().expect("there are samples enough");
        fill(sample.payload_mut());
        // SAFETY: `fill` wrote it.
        let sample = unsafe { sample.assume_init() };
        sample.send().expect("the subscriber lives");
        if let Some(notifier) = &self.notifier {
            notifier.notify().expect("the listener lives");
        }
    }
}

impl<const W: usize> Tx<W> for IceTx<W> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        self.publish(|payload| {
            payload.write(*message);
        });
    }
}

impl<const W: usize> TxInPlace<W> for IceTx<W> {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        // SAFETY: an array of words that may be uninitialised is as good as one that may be so as a whole.
        self.publish(|payload| fill(unsafe { &mut *payload.as_mut_ptr().cast() }));
    }
}

struct IceRx<const W: usize> {
    subscriber: Subscriber<ipc::Service, [u64; W], ()>,
    listener: Option<Listener<ipc::Service>>,
    _node: Node<ipc::Service>,
}

impl<const W: usize> Rx<W> for IceRx<W> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        self.recv_with(|message| *to = *message);
    }
}

impl<const W: usize> RxInPlace<W> for IceRx<W> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        loop {
            if let Some(sample) = self.subscriber.receive().expect("the publisher lives") {
                return read(sample.payload());
            }
            match &self.listener {
                Some(listener) => drop(listener.blocking_wait(|_| ()).expect("the notifier lives")),
                None => spin_loop(),
            }
        }
    }
}

fn node() -> Result<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    Ok(NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create()?)
}

/// Every side opens the services, or creates them: whoever comes first.
fn samples<const W: usize>(node: &Node<ipc::Service>, name: &str) -> Result<PubSub<W>> {
    Ok(node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<[u64; W]>()
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(slots::<W>())
        .max_publishers(4)
        .max_subscribers(1)
        .max_nodes(8)
        .open_or_create()?)
}

type PubSub<const W: usize> =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u64; W], ()>;

fn events(
    node: &Node<ipc::Service>,
    name: &str,
) -> Result<iceoryx2::service::port_factory::event::PortFactory<ipc::Service>> {
    let service = node.service_builder(&name.try_into()?).event();
    Ok(service.max_notifiers(4).max_listeners(1).max_nodes(8).open_or_create()?)
}

impl<const W: usize, const EVENTS: bool> Peer<W> for Iceoryx2<EVENTS> {
    const NAME: &'static str = if EVENTS { "iceoryx2 + event" } else { "iceoryx2" };
    const KIND: Kind = if EVENTS { Kind::Kernel } else { Kind::SharedMemory };
    const ABOUT_NS: usize = 200;
    type Made = String;
    type Tx = IceTx<W>;
    type Rx = IceRx<W>;

    fn make(place: &Place) -> Result<String> {
        Ok(place.path.to_str().context("the path of a piece is no text")?.to_owned())
    }

    fn tx(made: &mut String) -> Result<IceTx<W>> {
        let node = node()?;
        let service = samples::<W>(&node, made)?;
        let publisher = service.publisher_builder();
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        let notifier = if EVENTS { Some(events(&node, made)?.notifier_builder().create()?) } else { None };
        Ok(IceTx { publisher, notifier, _node: node })
    }

    fn rx(made: &mut String) -> Result<IceRx<W>> {
        let node = node()?;
        let subscriber = samples::<W>(&node, made)?.subscriber_builder().create()?;
        let listener = if EVENTS { Some(events(&node, made)?.listener_builder().create()?) } else { None };
        Ok(IceRx { subscriber, listener, _node: node })
    }
}

impl<const W: usize, const EVENTS: bool> ManySenders<W> for Iceoryx2<EVENTS> {}
