"""Messages about names."""

from nanogpt.errors import UserError, nearest


def test_a_user_error_is_a_value_error():
    assert issubclass(UserError, ValueError)


def test_the_nearest_name_is_named_else_all_in_order():
    assert nearest("trian", ["train", "sample"]) == "did you mean 'train'?"
    assert nearest("qqq", iter(["train", "eval"])) == "valid: eval, train"
