"""What a loop is: the contract, its place in a tree, its state.  Needs no torch."""

from typedloops.loops.base.connect import typed_connect as typed_connect
from typedloops.loops.base.loop import Loop as Loop
from typedloops.loops.base.slot import Slot as Slot
from typedloops.loops.base.slot import SlotList as SlotList
from typedloops.loops.base.tree import LoopTree as LoopTree
