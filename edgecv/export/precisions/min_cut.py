"""The cheapest cut of a directed graph, by Dinic's algorithm."""

from collections import deque
from collections.abc import Hashable

SOURCE, SINK = "source", "sink"


class MinCut:
    """Vertices, edges with costs, and the cheapest way to part the source from the sink.

    Vertices are whatever is hashable; `SOURCE` and `SINK` are two of them.

    Source:
        Dinic, "Algorithm for solution of a problem of maximum flow in networks with power
        estimation", Soviet Mathematics Doklady 11, 1970.

    """

    def __init__(self) -> None:
        """Start with the source and the sink alone."""
        self._index: dict[Hashable, int] = {}
        self._edges: list[list[int]] = []  # of each vertex, positions in the two lists below
        self._head: list[int] = []  # the vertex that an edge leads to; edge i ^ 1 leads back
        self._room: list[int] = []  # what may still flow along it
        self._vertex(SOURCE)
        self._vertex(SINK)

    def add(self, tail: Hashable, head: Hashable, cost: int) -> None:
        """Say that it costs `cost` if `tail` is on the source's side and `head` is not."""
        for start, end, room in ((tail, head, cost), (head, tail, 0)):
            self._edges[self._vertex(start)].append(len(self._head))
            self._head.append(self._vertex(end))
            self._room.append(room)

    def source_side(self) -> set[Hashable]:
        """Return the vertices on the source's side of a cheapest cut."""
        source, sink = self._index[SOURCE], self._index[SINK]
        while True:
            level = self._levels(source)
            if level[sink] < 0:
                return {vertex for vertex, index in self._index.items() if level[index] >= 0}
            position = [0] * len(self._edges)
            while self._augment(source, sink, level, position):
                pass

    def _vertex(self, vertex: Hashable) -> int:
        if vertex not in self._index:
            self._index[vertex] = len(self._edges)
            self._edges.append([])
        return self._index[vertex]

    def _levels(self, source: int) -> list[int]:
        """Return how many edges with room lie between the source and each vertex, -1 if none."""
        level = [-1] * len(self._edges)
        level[source] = 0
        queue = deque([source])
        while queue:
            vertex = queue.popleft()
            for edge in self._edges[vertex]:
                head = self._head[edge]
                if self._room[edge] and level[head] < 0:
                    level[head] = level[vertex] + 1
                    queue.append(head)
        return level

    def _augment(self, source: int, sink: int, level: list[int], position: list[int]) -> bool:
        """Send a flow along one path that climbs the levels, if there is one left."""
        path: list[int] = []
        vertex = source
        while vertex != sink:
            edges = self._edges[vertex]
            while position[vertex] < len(edges):
                edge = edges[position[vertex]]
                head = self._head[edge]
                if self._room[edge] and level[head] == level[vertex] + 1:
                    path.append(edge)
                    vertex = head
                    break
                position[vertex] += 1
            else:
                if not path:
                    return False
                back = path.pop()  # a dead end: step back and never come here again
                vertex = self._head[back ^ 1]
                position[vertex] += 1
        flow = min(self._room[edge] for edge in path)
        for edge in path:
            self._room[edge] -= flow
            self._room[edge ^ 1] += flow
        return True
