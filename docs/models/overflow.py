"""A lane that overflows into segments, as a model: every sender is killed at every step, a new one adopts the lane,
and receivers start anew in between. What is received must be what was committed, in order.

The memory is a ring, segments, and a table that says which positions live in which segment. Anything else that a sender
knows dies with it. Three rules are needed, and leaving out any one of them must lose something:

  beyond   the sender goes back to the ring only when the receiver is beyond the jump that left it
  trim     a segment's end in the table is trimmed before every jump out of it, to another segment or to the ring
  clear    whoever adopts a lane clears the table's entries that begin behind the last committed record
"""

import itertools
import sys

CAPACITY, RECORD, SEGMENT = 64, 16, 64
RULES = {"beyond", "trim", "clear"}


class Killed(Exception):
    pass


class Memory:
    """What outlives everybody."""

    def __init__(self, steps):
        self.ring, self.segments, self.table = {}, {}, []
        self.read_pos = self.hint = 0
        self.taken, self.steps_left = 0, steps

    def step(self):
        if self.steps_left == 0:
            raise Killed
        self.taken += 1
        if self.steps_left is not None:
            self.steps_left -= 1

    def locate(self, position):
        """A pure function of the table."""
        for start, end, offset in self.table:
            if start <= position < end:
                return self.segments, offset + position - start
        return self.ring, position % CAPACITY

    def word(self, position):
        memory, offset = self.locate(position)
        return memory.get(offset, 0)


def after(position, word):
    return position + word[2]


class Sender:
    def __init__(self, memory, rules):
        self.memory, self.rules = memory, rules
        position = max(memory.hint, memory.read_pos)
        while (word := memory.word(position)) != 0:
            position = after(position, word)
        self.write_pos = position
        if "clear" in rules:
            memory.table = [entry for entry in memory.table if entry[0] <= position]
        # The segment that is being written, if one is; where the ring was left for it; where the ring was re-entered.
        self.segment = next((i for i, (a, b, _) in enumerate(memory.table) if a <= position < b), None)
        self.reentered = max((b for _, b, _ in memory.table if b <= position), default=0)
        self.left_at = None
        if self.segment is not None:
            start = memory.table[self.segment][0]
            while previous := [a for a, b, _ in memory.table if b == start]:
                start = previous[0]
            self.left_at = start - 8

    def put(self, position, word, where=None):
        """One store: the unit of dying."""
        self.memory.step()
        memory, offset = where or self.here(position)
        memory[offset] = word

    def here(self, position):
        if self.segment is None:
            return self.memory.ring, position % CAPACITY
        start, _, offset = self.memory.table[self.segment]
        return self.memory.segments, offset + position - start

    def fits(self, end):
        return end + 8 <= max(self.memory.read_pos, self.reentered) + CAPACITY

    def trim(self):
        self.memory.step()
        start, _, offset = self.memory.table[self.segment]
        self.memory.table[self.segment] = (start, self.write_pos + 8, offset)

    def send(self, payload):
        memory = self.memory
        if self.segment is not None:
            passed = self.left_at + (8 if "beyond" in self.rules else 0)
            if memory.read_pos >= passed:
                self.jump_to_ring()
        if self.segment is None:
            left = CAPACITY - self.write_pos % CAPACITY
            if left < RECORD and self.fits(self.write_pos + left):
                self.put(0, 0, (memory.ring, 0))
                self.put(self.write_pos, ("PAD", None, left))
                self.write_pos += left
            if CAPACITY - self.write_pos % CAPACITY >= RECORD and self.fits(self.write_pos + RECORD):
                return self.record(payload)
        elif self.write_pos + RECORD + 8 <= memory.table[self.segment][1]:
            return self.record(payload)
        self.jump_to_segment()
        return self.send(payload)

    def record(self, payload):
        self.put(self.write_pos + RECORD, 0)
        self.put(self.write_pos, ("DATA", payload, RECORD))
        self.write_pos += RECORD
        self.memory.step()
        self.memory.hint = self.write_pos

    def jump_to_segment(self):
        memory = self.memory
        if self.segment is None:
            self.left_at = self.write_pos
        elif "trim" in self.rules:
            self.trim()
        start = self.write_pos + 8
        # Somewhere nobody has been: offsets of segments differ by more than a segment.
        offset = 1000 * (len(memory.table) + 1) + memory.taken * 7919 * 8
        memory.step()
        memory.table.append((start, start + SEGMENT, offset))
        self.put(start, 0, (memory.segments, offset))
        self.put(self.write_pos, ("JUMP", None, 8))
        self.write_pos, self.segment = start, len(memory.table) - 1

    def jump_to_ring(self):
        self.trim()
        start = self.write_pos + 8
        self.put(start, 0, (self.memory.ring, start % CAPACITY))
        self.put(self.write_pos, ("JUMP", None, 8))
        self.write_pos = self.reentered = start
        self.segment = None


def receive(memory, most):
    """A receiver that was just started: it knows the table and its position, and nothing else."""
    received, position = [], memory.read_pos
    while len(received) < most and (word := memory.word(position)) != 0:
        position = after(position, word)
        if word[0] == "DATA":
            received.append(word[1])
        memory.read_pos = position
    return received


def check(rules):
    """(cases, wrong ones): messages sent first, received before the adoption and after it; the step of the kill."""
    cases = wrong = 0
    for first, before, between in itertools.product(range(1, 16), range(8), range(4)):
        for steps in [*range(90), None]:
            memory, committed, killed = Memory(steps), 0, False
            try:
                sender = Sender(memory, rules)
                for payload in range(first):
                    sender.send(payload)
                    committed += 1
            except Killed:
                killed = True
            if steps is not None and not killed:
                continue  # everything was sent before the kill came
            memory.steps_left = None
            received = receive(memory, before)
            heir = Sender(memory, rules)
            for payload in range(100, 104):
                heir.send(payload)
            received += receive(memory, between)
            received += receive(memory, 1000)
            tail = [100, 101, 102, 103]
            # A send that was killed after its commit has not returned, and may have happened.
            right = [[*range(committed), *tail], [*range(committed + 1), *tail]]
            cases += 1
            wrong += received not in right
    return cases, wrong


def main():
    failed = False
    for left_out in [None, *sorted(RULES)]:
        cases, wrong = check(RULES - {left_out})
        print(f"{'all rules' if left_out is None else f'without {left_out}':16} {cases} cases, {wrong} wrong", flush=True)
        failed |= (wrong == 0) != (left_out is None)
    return failed


if __name__ == "__main__":
    sys.exit(main())
