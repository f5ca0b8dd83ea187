from mapping_lib.lab.parallel import french_parent, short_names
from mapping_lib.lab.translating import scored, translate


def test_french_parent_is_the_shipped_one():
    parent, known = french_parent()
    assert len(known) == parent.table.num_embeddings
    test = short_names("fr")[1]
    found = translate(parent, known, test.sources, longest=25)
    assert scored(found, test.targets)["chrf"] > 0.45
