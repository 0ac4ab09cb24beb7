"""The studio: a web page on this machine: generate text, look at a model's internals, watch a training.

app                     the server: NiceGUI on FastAPI
middleware              access by token, security headers, and the OpenAI-compatible API next to the page
page                    the frame around the four views: header, navigation, address
state                   what a view shows, as the part of the address after `#`
registry                the runs that may be opened, and the models kept in memory
background              generation in a thread while the page stays responsive
generation              a text token by token, each with its probability and the likeliest alternatives
text_tree               a text and the branches that a person made in it
labels                  percentages, colour levels, and what is sent to the browser
elements                HTML elements, fields, bar lists, and text with selectable tokens
model_choice            the fields that choose a run and a checkpoint
chart                   loss curves as SVG, in words, and as a table
write_view              "Write": models, sampler, alternatives of a token
write_column            "Write": one model and its text
inside_view             "Look inside": a model, a text and a token
inside_pictures         "Look inside": attention, logit lens and embeddings
inside_analysis         "Look inside": what is computed, without a page
learn_view              "Watch it learn": its parts, and the timer that reads what is new
training_form           "Watch it learn": choose a text, preview the plan, start
uploads                 "Watch it learn": texts that were pasted or uploaded
training_progress       "Watch it learn": curves, speed and samples of one run
run_metrics             "Watch it learn": `metrics.jsonl`, read as it grows
compare                 "Watch it learn": validation losses of several runs
checkpoint_browser      "Watch it learn": one prompt at each kept step (the time machine)
training_jobs           "Watch it learn": trainings as processes that outlive the page
course_view             "Follow the course": a card for each section, run as a process

`assets/` holds the style sheets and the Vue components. The studio needs the extra `studio` (NiceGUI, FastAPI).
"""
